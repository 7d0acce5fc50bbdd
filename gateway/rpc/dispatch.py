"""A call's way in: from gRPC's headers to the servicer's method.

Each call is answered in one of two shapes, which are the same bytes on the wire. A call that its headers let through is
*unary*: gRPC reads the message and then runs the handler. A call that is refused, or that has to wait for something
before its message may be read, is *streaming*: its handler runs on the headers alone. The streaming shape costs about a
sixth more processor time, so only those calls pay it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.clock import Clock
from gateway.errors import MethodNotImplemented
from gateway.rpc.call import Body, Call, call_from_headers
from gateway.rpc.interceptors import Context, Guard, Handler, Interceptor
from gateway.rpc.policy import POLICY

# A servicer's method: takes the call and the raw request message, gives the response message.
Method = Callable[[Call, bytes], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Route:
    """One RPC: its method inside the interceptors, for either shape, and how its response is written."""

    ready: Handler
    waiting: Handler
    serialize: Callable[[Message], bytes]


# Served by handlers of their own, without credentials.
OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")


class Dispatcher(grpc.GenericRpcHandler):
    """Routes the RPCs of the gateway's own services, and answers all that nobody else serves."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        services: Sequence[ServiceDescriptor],
        observer: Interceptor,
        guards: Sequence[Guard],
        *,
        clock: Clock,
        default_deadline_seconds: float,
    ) -> None:
        """`methods` by their full path. `observer` stands around `guards`, and around the calls that guards refuse.

        Raises `ValueError` for an RPC without a line in the policy.
        """
        self._observer = observer
        self._guards = tuple(guards)
        self._clock = clock
        self._default_deadline = default_deadline_seconds
        self._routes: dict[str, Route] = {}
        for descriptor in (method for service in services for method in service.methods):
            path = f"/{descriptor.containing_service.full_name}/{descriptor.name}"
            if path not in POLICY:
                raise ValueError(f"{path} has no permission in rpc/policy.py")
            self._routes[path] = self._route(methods.get(path, _not_implemented), descriptor)

    def _route(self, method: Method, descriptor: MethodDescriptor) -> Route:
        async def read(call: Call, body: Body, context: Context) -> Message:
            return await method(call, await body.read())

        def go_on(call: Call, body: Body, context: Context) -> Awaitable[Message]:
            assert body.raw is not None
            return method(call, body.raw)

        waiting: Handler = read
        ready: Handler = go_on
        for guard in reversed(self._guards):
            waiting, ready = guard.wrap(waiting), guard.wrap_ready(ready)
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
            ready = True
            for guard in self._guards:
                if not guard.on_headers(call):
                    ready = False
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, the chain of refusals answers it
            return self._refuse(call, error)

        if ready:

            async def unary(raw: bytes, context: Context) -> Message:
                self._set_deadline(call, context)
                return await route.ready(call, Body(raw), context)

            return grpc.unary_unary_rpc_method_handler(unary, None, route.serialize)

        async def streaming(messages: AsyncIterator[bytes], context: Context) -> Message:
            self._set_deadline(call, context)
            return await route.waiting(call, Body(messages=messages), context)

        return grpc.stream_unary_rpc_method_handler(streaming, None, route.serialize)

    def _refuse(self, call: Call, error: Exception) -> grpc.RpcMethodHandler[bytes, Message]:
        async def fail(call: Call, body: Body, context: Context) -> Message:
            raise error

        handler = self._observer.wrap(fail)

        async def refused(messages: AsyncIterator[bytes], context: Context) -> Message:
            return await handler(call, Body(messages=messages), context)

        return grpc.stream_unary_rpc_method_handler(refused, None, None)

    def _set_deadline(self, call: Call, context: Context) -> None:
        # None without a deadline, whatever the stubs say.
        remaining: float | None = context.time_remaining()
        call.deadline = self._clock.monotonic() + (self._default_deadline if remaining is None else remaining)


async def _not_implemented(call: Call, raw: bytes) -> Message:
    raise MethodNotImplemented
