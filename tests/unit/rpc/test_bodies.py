"""A message is read only when the largest would fit, and one that never comes does not keep its room from others."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from gateway.errors import DeadlineExceeded, GatewayOverloaded, InvalidRequest
from gateway.model import Principal, Tenant
from gateway.rpc import bodies as module
from gateway.rpc.bodies import ARRIVAL_SECONDS, MAX_BODY_BYTES, Bodies
from gateway.rpc.call import Call, Context, call_from_headers
from gateway.rpc.guards.capacity import Capacity
from gateway.rpc.room import Room
from tests.support.call_context import CallContext
from tests.support.clock import ManualClock
from tests.support.conditions import eventually


class Stage:
    """Bodies with room for `largest` of the largest messages."""

    def __init__(self, largest: int) -> None:
        self.clock = ManualClock()
        self.room = Room(largest * MAX_BODY_BYTES, MAX_BODY_BYTES)
        self.capacity = Capacity(100, self.room)
        self.bodies = Bodies(self.room, self.clock)

    def call(self, context: CallContext, tenant: str = "a") -> Call:
        call = call_from_headers("/a.Service/Method", cast("Context", context), self.clock.monotonic(), 600.0)
        call.principal = Principal(Tenant(tenant), "token")
        self.capacity.on_headers(call)
        return call

    def reading(self, context: CallContext, tenant: str = "a") -> asyncio.Task[int]:
        return asyncio.create_task(self.bodies.read(self.call(context, tenant)))


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.001)


async def test_a_message_counts_as_the_largest_until_it_is_here() -> None:
    stage = Stage(2)
    stalled = stage.reading(CallContext(message=None))
    await asyncio.sleep(0)
    assert stage.room.taken == MAX_BODY_BYTES
    stalled.cancel()
    await asyncio.gather(stalled, return_exceptions=True)
    assert stage.room.taken == 0


async def test_a_message_that_is_here_counts_as_large_as_it_is() -> None:
    stage = Stage(2)
    call = stage.call(CallContext(message=b"12345"))
    assert await stage.bodies.read(call) == 5
    assert stage.room.taken == 5
    assert call.take_message() == b"12345"
    stage.capacity.on_end(call)
    assert stage.room.taken == 0


async def test_messages_for_which_there_is_no_room_stay_unread() -> None:
    stage = Stage(2)
    stalled = [stage.reading(CallContext(message=None)) for _ in range(2)]
    await asyncio.sleep(0)
    third = CallContext(message=b"1")
    waiting = stage.reading(third)
    await asyncio.sleep(0)
    assert third.reads == 0
    stalled[0].cancel()
    assert await waiting == 1
    stalled[1].cancel()
    await asyncio.gather(*stalled, return_exceptions=True)


async def test_more_waiting_messages_than_would_fit_are_refused() -> None:
    stage = Stage(2)
    tasks = [stage.reading(CallContext(message=None)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(GatewayOverloaded):
        await stage.bodies.read(stage.call(CallContext()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_late_message_is_given_up_when_others_wait() -> None:
    stage = Stage(1)
    late = stage.reading(CallContext(message=None))
    await asyncio.sleep(0)
    waiting = stage.reading(CallContext(message=b"1"))
    stage.clock.advance(ARRIVAL_SECONDS)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(late, 30)
    assert await asyncio.wait_for(waiting, 30) == 1


async def test_a_slow_message_may_take_its_time_when_nobody_waits() -> None:
    """An upload over a slow link is as long as its call: there is room for it."""
    stage = Stage(2)
    slow = stage.reading(CallContext(message=None, remaining=60.0))
    await asyncio.sleep(0)
    stage.clock.advance(5 * ARRIVAL_SECONDS)
    looks = 0

    def looked() -> bool:
        nonlocal looks
        looks += 1
        return looks > 5

    await eventually(looked, "the check has run several times")
    assert not slow.done()
    stage.clock.advance(60.0)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(slow, 30)


async def test_a_call_without_a_message_is_invalid() -> None:
    stage = Stage(2)
    with pytest.raises(InvalidRequest):
        await stage.bodies.read(stage.call(CallContext(eof=True)))
    assert stage.room.taken == 0
