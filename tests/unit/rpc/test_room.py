"""Room for bodies is lent in turns between tenants, and comes back whatever becomes of the borrower."""

from __future__ import annotations

import asyncio

from gateway.rpc.room import Room


async def test_a_body_waits_until_there_is_room_for_all_of_it() -> None:
    room = Room(10, 1)
    await room.wait("a", 6)
    second = asyncio.create_task(room.wait("a", 6))
    await asyncio.sleep(0)
    assert (room.taken, room.waiting) == (6, 1)
    room.give_back("a", 6)
    await second
    assert (room.taken, room.waiting) == (6, 0)


async def test_a_small_body_does_not_overtake_a_large_one_of_its_tenant() -> None:
    """Large bodies would starve otherwise."""
    room = Room(10, 1)
    await room.wait("a", 8)
    large = asyncio.create_task(room.wait("a", 6))
    await asyncio.sleep(0)
    assert not room.has("a", 1)
    small = asyncio.create_task(room.wait("a", 1))
    await asyncio.sleep(0)
    assert not small.done()
    room.give_back("a", 8)
    await asyncio.gather(large, small)
    assert room.taken == 7


async def test_tenants_take_turns() -> None:
    """A tenant with ten waiting bodies delays its own, not another's first."""
    room = Room(10, 1)
    await room.wait("a", 10)
    order: list[str] = []

    async def one(tenant: str) -> None:
        await room.wait(tenant, 8)
        order.append(tenant)

    waiting = [asyncio.create_task(one("a")) for _ in range(10)]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(one("b")))
    await asyncio.sleep(0)
    room.give_back("a", 10)
    for _ in waiting:
        await asyncio.sleep(0)
        room.give_back(order[-1], 8)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order.index("b") <= 1


async def test_a_full_room_lets_in_the_first_body_of_another_tenant() -> None:
    room = Room(64, 8)
    room.take("a", 64)
    assert not room.has("a", 8)
    assert room.has("b", 8)


async def test_who_gives_up_waiting_lets_the_next_one_in() -> None:
    """A cancelled wait takes nothing and blocks nobody."""
    room = Room(10, 1)
    await room.wait("a", 8)
    large = asyncio.create_task(room.wait("a", 6))
    await asyncio.sleep(0)
    small = asyncio.create_task(room.wait("a", 2))
    await asyncio.sleep(0)
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    await small
    assert (room.taken, room.waiting) == (10, 0)


async def test_who_is_cancelled_just_after_its_turn_came_gives_it_back() -> None:
    """The turn and the cancellation may meet in the same step of the loop."""
    room = Room(10, 1)
    await room.wait("a", 10)
    late = asyncio.create_task(room.wait("a", 10))
    await asyncio.sleep(0)
    room.give_back("a", 10)
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert room.taken == 0


async def test_a_body_larger_than_all_the_room_gets_in_alone() -> None:
    """It would wait for ever otherwise."""
    room = Room(10, 1)
    await room.wait("a", 12)
    assert room.taken == 12
    assert not room.has("a", 1)
