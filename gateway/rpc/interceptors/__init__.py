"""What stands around every call. `app.py` lists them in their order, with the reason for each one's place.

A guard sees a call twice. `on_headers` runs when only the headers are here: it may refuse the call by raising, or
return False to say that it has to wait for something, in which case the body is not read until the guard's handler has
let the call through. The handler made by `wrap` stands around the rest of the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from gateway.rpc.call import Body, Call

Context = ServicerContext[bytes, Message]


class Handler(Protocol):
    """The rest of a call: answers with the response message, or raises."""

    async def __call__(self, call: Call, body: Body, context: Context) -> Message:
        """Answers the call."""
        ...


class Interceptor(Protocol):
    """One concern around every call."""

    def wrap(self, proceed: Handler) -> Handler:
        """The handler that does this interceptor's work around `proceed`."""
        ...


class Guard(Interceptor, Protocol):
    """An interceptor that may refuse a call, if it can on its headers alone."""

    def on_headers(self, call: Call) -> bool:
        """Whether the call may have its body read at once. Raises `GatewayError` to refuse it. Does not wait."""
        ...


def chain(interceptors: Sequence[Interceptor], innermost: Handler) -> Handler:
    """`innermost` wrapped by all `interceptors`, the first one outermost."""
    handler = innermost
    for interceptor in reversed(interceptors):
        handler = interceptor.wrap(handler)
    return handler
