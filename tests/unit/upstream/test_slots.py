"""Places toward the vendor: never more than there are, in the order of asking, and none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from gateway.errors import GatewayOverloaded
from gateway.upstream.slots import WAIT_SECONDS, Slots


async def test_who_waits_longest_is_next() -> None:
    """A place that is given back goes on without becoming free in between, so nobody overtakes."""
    slots, order = Slots(1), list[int]()

    async def search(number: int) -> None:
        async with slots:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(search(number) for number in range(8)))
    assert order == list(range(8))
    assert (slots.in_use, slots.waiting) == (0, 0)


async def test_a_full_pool_is_told_in_bounded_time() -> None:
    """Whoever gets no place within the time is refused, leaves the queue, and the wait is told."""
    waits: list[float] = []
    slots = Slots(1, waits.append)
    async with slots:
        with pytest.raises(GatewayOverloaded):
            async with slots:
                pass
        assert (slots.in_use, slots.waiting) == (1, 0)
    assert waits == [pytest.approx(WAIT_SECONDS, abs=1.0)]
    assert waits[0] >= WAIT_SECONDS
    assert slots.in_use == 0


@pytest.mark.parametrize("seed", range(20))
async def test_no_place_is_lost_or_made_by_those_who_leave(seed: int) -> None:
    """Cancelled at any moment, also in the one in which its turn came: all places are there again in the end."""
    dice, slots, highest = random.Random(seed), Slots(3), 0

    async def search() -> None:
        nonlocal highest
        async with slots:
            highest = max(highest, slots.in_use)
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)

    searches = [asyncio.create_task(search()) for _ in range(60)]
    while any(not one.done() for one in searches):
        dice.choice(searches).cancel()
        await asyncio.sleep(0)
    for one in searches:
        with contextlib.suppress(asyncio.CancelledError):
            await one
    assert highest == 3
    assert (slots.in_use, slots.waiting) == (0, 0)
