"""A coroutine that needs no wait gives its result at once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.aio import WouldWait, at_once


def test_a_result_is_given_at_once() -> None:
    async def answer() -> int:
        return 42

    assert at_once(answer()) == 42


def test_what_it_raises_is_raised() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        at_once(fail())


def test_a_coroutine_that_waits_is_closed() -> None:
    closed = []

    async def wait() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(WouldWait):
        at_once(wait())
    assert closed
