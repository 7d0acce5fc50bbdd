"""Room for bodies is lent in order, and comes back whatever becomes of the borrower."""

from __future__ import annotations

import asyncio

from gateway.rpc.room import Room


async def test_a_body_waits_until_there_is_room_for_all_of_it() -> None:
    """No part of a body is let in."""
    room = Room(10)
    await room.wait(6)
    second = asyncio.create_task(room.wait(6))
    await asyncio.sleep(0)
    assert (room.taken, room.waiting) == (6, 1)
    room.give_back(6)
    await second
    assert (room.taken, room.waiting) == (6, 0)


async def test_a_small_body_does_not_overtake_a_large_one() -> None:
    """First come, first served: else large bodies would starve."""
    room = Room(10)
    await room.wait(8)
    large = asyncio.create_task(room.wait(6))
    await asyncio.sleep(0)
    assert not room.has(1)
    small = asyncio.create_task(room.wait(1))
    await asyncio.sleep(0)
    assert not small.done()
    room.give_back(8)
    await asyncio.gather(large, small)
    assert room.taken == 7


async def test_who_gives_up_waiting_lets_the_next_one_in() -> None:
    """A cancelled wait takes nothing and blocks nobody."""
    room = Room(10)
    await room.wait(8)
    large = asyncio.create_task(room.wait(6))
    await asyncio.sleep(0)
    small = asyncio.create_task(room.wait(2))
    await asyncio.sleep(0)
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    await small
    assert (room.taken, room.waiting) == (10, 0)


async def test_who_is_cancelled_just_after_its_turn_came_gives_it_back() -> None:
    """The turn and the cancellation may meet in the same step of the loop."""
    room = Room(10)
    await room.wait(10)
    late = asyncio.create_task(room.wait(10))
    await asyncio.sleep(0)
    room.give_back(10)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert room.taken == 0


async def test_a_body_larger_than_all_the_room_gets_in_alone() -> None:
    """Else it would wait for ever."""
    room = Room(10)
    await room.wait(12)
    assert room.taken == 12
    assert not room.has(1)
