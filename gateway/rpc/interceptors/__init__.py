"""What stands around every call. `app.py` lists them in their order, with the reason for each one's place.

A guard sees a call twice. `on_headers` runs when only the headers are here: it may refuse the call by raising, or
return False to say that it has to wait for something, in which case the body is not read until the guard's handler has
let the call through. After that `wrap` stands around a call that had to wait, `wrap_ready` around one that did not and
whose body has arrived: that is almost every call, and each coroutine around it costs about 8 µs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from gateway.rpc.call import Body, Call, Context

# The rest of a call, which answers with the response message, or raises: of one whose raw request message is here, and
# of one whose body is still to be read.
Ready = Callable[[Call, bytes], Awaitable[Message]]
Waiting = Callable[[Call, Body], Awaitable[Message]]

B = TypeVar("B")


class Observer(Protocol):
    """Stands around the guards, whatever the shape of the call."""

    def wrap(
        self, proceed: Callable[[Call, B], Awaitable[Message]]
    ) -> Callable[[Call, B, Context], Awaitable[Message]]:
        """The handler that does this observer's work around `proceed`."""
        ...


class Guard(Protocol):
    """May refuse a call, if it can on its headers alone."""

    def on_headers(self, call: Call) -> bool:
        """Whether the call may have its body read at once. Raises `GatewayError` to refuse it. Does not wait."""
        ...

    def wrap(self, proceed: Waiting) -> Waiting:
        """This guard's work around a call that has to wait for it, or for another guard."""
        ...

    def wrap_ready(self, proceed: Ready) -> Ready:
        """What is left of this guard's work around a call that every guard let through on its headers."""
        ...
