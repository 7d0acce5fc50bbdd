"""What asyncio leaves out."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class WouldWait(Exception):
    """The coroutine has to wait, so its result is not to be had at once."""


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that needs no wait, without a task and without an event loop.

    Raises `WouldWait`, and closes the coroutine at its first wait, if it does need one. Raises what the coroutine raises.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise WouldWait
