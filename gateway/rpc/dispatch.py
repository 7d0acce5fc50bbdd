"""A call's way in: from gRPC's headers to the servicer's method.

Each call is answered in one of two shapes, which are the same bytes on the wire. A call that its headers let through is
*unary*: gRPC reads the message and then runs the handler. A call that is refused, or that has to wait for something
before its message may be read, is *streaming*: its handler runs on the headers alone. The streaming shape costs about a
sixth more processor time, so only those calls pay it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.clock import Clock
from gateway.errors import MethodNotImplemented
from gateway.rpc.call import Body, Call, Context, call_from_headers
from gateway.rpc.interceptors import Guard, Observer, Ready, Waiting
from gateway.rpc.policy import POLICY

# A servicer's method: takes the call and the raw request message, gives the response message.
Method = Ready


@dataclass(frozen=True, slots=True)
class Route:
    """One RPC: its method inside the guards and the observer, for either shape, and how its response is written."""

    ready: Callable[[Call, bytes, Context], Awaitable[Message]]
    waiting: Callable[[Call, Body, Context], Awaitable[Message]]
    serialize: Callable[[Message], bytes]


class _Unary:
    """What `grpc.unary_unary_rpc_method_handler` makes, at a fifth of its cost: almost every call needs one."""

    request_streaming = False
    response_streaming = False
    request_deserializer = None

    def __init__(self, route: Route, call: Call) -> None:
        self.unary_unary = partial(route.ready, call)
        self.response_serializer = route.serialize


# Served by handlers of their own, without credentials.
OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")


class Dispatcher(grpc.GenericRpcHandler):
    """Routes the RPCs of the gateway's own services, and answers all that nobody else serves."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        services: Sequence[ServiceDescriptor],
        observer: Observer,
        guards: Sequence[Guard],
        *,
        clock: Clock,
    ) -> None:
        """`methods` by their full path. `observer` stands around `guards`, and around the calls that guards refuse.

        Raises `ValueError` for an RPC without a line in the policy.
        """
        self._observer = observer
        self._guards = tuple(guards)
        self._clock = clock
        self._routes: dict[str, Route] = {}
        for descriptor in (method for service in services for method in service.methods):
            path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
            if path not in POLICY:
                raise ValueError(f"{path} has no permission in rpc/policy.py")
            self._routes[path] = self._route(methods.get(path, _not_implemented), descriptor)

    def _route(self, method: Method, descriptor: MethodDescriptor) -> Route:
        async def read(call: Call, body: Body) -> Message:
            return await method(call, await body.read())

        ready: Ready = method
        waiting: Waiting = read
        for guard in reversed(self._guards):
            ready, waiting = guard.wrap_ready(ready), guard.wrap(waiting)
        response_class = GetMessageClass(descriptor.output_type)
        return Route(self._observer.wrap(ready), self._observer.wrap(waiting), response_class.SerializeToString)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, Message] | None:
        """Chooses the shape of one call. Runs on its headers, before its message is read."""
        path = handler_call_details.method
        route = self._routes.get(path)
        if route is None and path.startswith(OPEN_SERVICES):
            return None
        call = call_from_headers(path, handler_call_details.invocation_metadata, self._clock.monotonic())
        if route is None:
            return self._refuse(call, MethodNotImplemented())
        try:
            for guard in self._guards:
                if not guard.on_headers(call):
                    return _streaming(route.waiting, call, route.serialize)
        except Exception as error:  # noqa: BLE001 - whatever it is, the chain of refusals answers it
            return self._refuse(call, error)
        # gRPC looks at the attributes alone.
        return _Unary(route, call)  # type: ignore[return-value]

    def _refuse(self, call: Call, error: Exception) -> grpc.RpcMethodHandler[bytes, Message]:
        async def fail(call: Call, body: Body) -> Message:
            raise error

        return _streaming(self._observer.wrap(fail), call, None)


def _streaming(
    proceed: Callable[[Call, Body, Context], Awaitable[Message]],
    call: Call,
    serialize: Callable[[Message], bytes] | None,
) -> grpc.RpcMethodHandler[bytes, Message]:
    async def streaming(messages: AsyncIterator[bytes], context: Context) -> Message:
        return await proceed(call, Body(messages, context), context)

    return grpc.stream_unary_rpc_method_handler(streaming, None, serialize)


async def _not_implemented(call: Call, raw: bytes) -> Message:
    raise MethodNotImplemented
