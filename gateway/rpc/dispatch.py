"""Finds the handler of a call by its method's path. In place of grpc.aio's interceptors and method handlers.

gRPC gives a call to its handler in one of two shapes, which are the same bytes on the wire. Of the *unary* shape it reads
the message first; of the *streaming* shape the handler runs on the headers, and reads when it wants to. The gateway
answers every call in the streaming shape, so no message is read before its caller is known and there is room for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.errors import MethodNotImplemented
from gateway.rpc.frame import Frame, Method
from gateway.rpc.policy import POLICY

UNKNOWN_METHOD = "unknown"


class Route:
    """What gRPC's own `…_rpc_method_handler` functions make: it looks at these attributes alone."""

    request_streaming = True
    request_deserializer = None

    def __init__(
        self,
        handler: Callable[..., Awaitable[Message | None]],
        serialize: Callable[[Message], bytes] | None,
        *,
        streams_answers: bool = False,
    ) -> None:
        self.response_streaming = streams_answers
        self.stream_unary = self.stream_stream = handler
        self.response_serializer = serialize


class Dispatcher(grpc.GenericRpcHandler):
    """Routes the RPCs of the gateway's own services and of open ones, and answers all that nobody serves."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        services: Sequence[ServiceDescriptor],
        frame: Frame,
        open_routes: Mapping[str, Route],
    ) -> None:
        """`methods` and `open_routes` by their full path. Open routes are served without credentials.

        Raises `ValueError` for an RPC without a line in the policy, or of a shape that is not served.
        """
        self._frame = frame
        self._routes: dict[str, Route] = dict(open_routes)
        for descriptor in (method for service in services for method in service.methods):
            path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
            if path not in POLICY:
                raise ValueError(f"{path} has no permission in rpc/policy.py")
            method = methods.get(path)
            self._routes[path] = self._missing(path) if method is None else self._route(path, method, descriptor)
        # A stranger chooses the path, so it goes nowhere.
        self._unknown = Route(frame.refusing(UNKNOWN_METHOD, MethodNotImplemented, known=False), None)

    def _route(self, path: str, method: Method, descriptor: MethodDescriptor) -> Route:
        if descriptor.client_streaming or descriptor.server_streaming:
            raise ValueError(f"{path} streams, and rpc/frame.py carries one message each way alone")
        response_class = GetMessageClass(descriptor.output_type)
        return Route(self._frame.around(path, method), response_class.SerializeToString)

    def _missing(self, path: str) -> Route:
        return Route(self._frame.refusing(path, MethodNotImplemented, known=True), None)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, Message]:
        """The route of one call. Runs on its headers, before its message is read."""
        # gRPC looks at the attributes alone.
        return self._routes.get(handler_call_details.method, self._unknown)  # type: ignore[return-value]
