"""What stands around every call. `app.py` lists them in their order, with the reason for each one's place.

A guard sees a call twice. `on_headers` runs when only the headers are here: it may refuse the call by raising, or
return False to say that it has to wait for something, in which case the body is not read until the guard's handler has
let the call through. After that `wrap` stands around a call that had to wait, `wrap_ready` around one that did not and
whose body has arrived: that is almost every call, and each coroutine around it costs about 8 µs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from gateway.rpc.call import Body, Call

Context = ServicerContext[bytes, Message]


# The rest of a call: answers with the response message, or raises.
Handler = Callable[[Call, Body, Context], Awaitable[Message]]


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

    def wrap_ready(self, proceed: Handler) -> Handler:
        """What is left of this guard's work around a call that every guard let through on its headers."""
        ...
