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
Messages = AsyncIterator[bytes]
Serialize = Callable[[Message], bytes]


@dataclass(frozen=True, slots=True)
class Route:
    """One RPC: its method inside the guards and the observer, for either shape, and how its response is written."""

    ready: Callable[[Call, bytes, Context], Awaitable[Message]]
    waiting: Callable[[Call, Body, Context], Awaitable[Message]]
    serialize: Serialize


class _Handler:
    """What gRPC's own `…_rpc_method_handler` functions make, at a fifth of their cost: each call needs one."""

    response_streaming = False
    request_deserializer = None

    def __init__(self, answer: Callable[..., Awaitable[Message]], serialize: Serialize, *, streaming: bool) -> None:
        self.request_streaming = streaming
        # gRPC takes the one that goes with `request_streaming`.
        self.unary_unary = self.stream_unary = answer
        self.response_serializer = serialize


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
        self._refused = observer.wrap(_refuse)
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
        try:
            if route is None:
                raise MethodNotImplemented
            for guard in self._guards:
                if not guard.on_headers(call):
                    handler = _Handler(partial(_wait, route.waiting, call), route.serialize, streaming=True)
                    break
            else:
                handler = _Handler(partial(route.ready, call), route.serialize, streaming=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the chain of refusals answers it
            call.refusal = error
            handler = _Handler(partial(self._refused, call), Message.SerializeToString, streaming=True)
        # gRPC looks at the attributes alone.
        return handler  # type: ignore[return-value]


async def _wait(
    waiting: Callable[[Call, Body, Context], Awaitable[Message]], call: Call, messages: Messages, context: Context
) -> Message:
    return await waiting(call, Body(messages, context), context)


async def _refuse(call: Call, messages: Messages) -> Message:
    # Taken out: with its traceback it would hold the call that holds it, and refusals come in floods.
    refusal, call.refusal = call.refusal, None
    assert refusal is not None
    raise refusal


async def _not_implemented(call: Call, raw: bytes) -> Message:
    raise MethodNotImplemented
