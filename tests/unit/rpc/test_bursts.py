"""Calls of a burst go on together; no others wait, and none waits long."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rpc.bursts import BURST_CALLS, GROUPS_REMEMBERED, MOST_TOGETHER, TRY_SECONDS, WAIT_SECONDS, Bursts

# Of a machine that has other things to do.
LATE_SECONDS = 1.0


class Caller:
    """Sends calls at moments of its own making, a tenth of a millisecond apart unless told otherwise."""

    def __init__(self) -> None:
        self.bursts = Bursts()
        self.now = 1000.0

    def call(self, after: float = 0.0001) -> asyncio.Future[None] | None:
        self.now += after
        return self.bursts.join(self.now)

    async def answered(self, after: float = 0.0001) -> bool:
        """Sends a call and waits for its turn; whether it had to wait."""
        turn = self.call(after)
        if turn is None:
            return False
        waits = not turn.done()
        await turn
        return waits

    async def burst(self) -> None:
        """Has it known as a burst, by a caller that sends each call after the last one's answer."""
        for _ in range(BURST_CALLS + 1):
            await self.answered()


async def test_fewer_than_one_a_millisecond_never_wait() -> None:
    caller = Caller()
    assert [caller.call(0.00101) for _ in range(1000)] == [None] * 1000


async def test_the_first_calls_of_a_burst_do_not_wait() -> None:
    caller = Caller()
    assert [caller.call() for _ in range(BURST_CALLS)] == [None] * BURST_CALLS
    assert caller.call() is not None


async def test_as_many_as_may_go_on_together_do_so_at_once() -> None:
    caller = Caller()
    await caller.burst()
    caller.now += TRY_SECONDS
    for _ in range(BURST_CALLS):
        caller.call(0.0)
    turns = [caller.call(0.0) for _ in range(MOST_TOGETHER - 1)]
    begun = time.monotonic()
    await asyncio.sleep(0)
    assert not any(turn.done() for turn in turns if turn is not None), "a group that is not full waits"
    last = caller.call(0.0)
    assert last is not None
    assert all(turn is not None and turn.done() for turn in (*turns, last))
    assert time.monotonic() - begun < WAIT_SECONDS


async def test_a_caller_that_waits_for_each_answer_is_held_up_once_in_a_while() -> None:
    caller = Caller()
    begun = caller.now
    held_up = 0
    for _ in range(5000):
        turn = caller.call()
        if turn is not None:
            held_up += 1
            await turn
    assert 0 < held_up <= (caller.now - begun) // TRY_SECONDS + 1


async def test_two_callers_wait_for_each_other_and_for_nobody_else() -> None:
    caller = Caller()
    await caller.burst()
    caller.now += TRY_SECONDS
    for _ in range(BURST_CALLS):
        caller.call(0.0)
    await asyncio.gather(*(turn for turn in (caller.call(0.0), caller.call(0.0)) if turn is not None))
    for _ in range(100):
        first, second = caller.call(0.00001), caller.call(0.00001)
        assert first is not None
        assert second is not None
        assert first.done(), "two came together last time, so two are enough"
        assert second.done()


async def test_a_group_that_shrinks_is_soon_waited_for_no_more() -> None:
    caller = Caller()
    await caller.burst()
    caller.now += TRY_SECONDS
    for _ in range(BURST_CALLS):
        caller.call(0.0)
    turns = [caller.call(0.0) for _ in range(8)]
    await asyncio.gather(*(turn for turn in turns if turn is not None))
    waited = [await caller.answered(0.00001) for _ in range(3 * GROUPS_REMEMBERED)]
    assert sum(waited) <= GROUPS_REMEMBERED
    assert not any(waited[GROUPS_REMEMBERED:])


async def test_a_call_that_gives_up_takes_nobody_along() -> None:
    caller = Caller()
    await caller.burst()
    caller.now += TRY_SECONDS
    for _ in range(BURST_CALLS):
        caller.call(0.0)
    turns = [turn for turn in (caller.call(0.0) for _ in range(3)) if turn is not None]
    turns[1].cancel()
    await asyncio.wait_for(asyncio.gather(turns[0], turns[2]), WAIT_SECONDS + LATE_SECONDS)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.00001, 0.0003, 0.002, 0.3]), st.integers(1, 40), st.booleans()), max_size=60
    )
)
def test_whatever_comes_everyone_goes_on_soon_and_not_too_many_at_once(
    waves: list[tuple[float, int, bool]],
) -> None:
    async def scenario() -> None:
        caller = Caller()
        turns: list[asyncio.Future[None]] = []
        for after, count, pause in waves:
            new = [turn for turn in (caller.call(after) for _ in range(count)) if turn is not None]
            turns += new
            assert sum(not turn.done() for turn in turns) < MOST_TOGETHER
            if pause:
                await asyncio.sleep(0)
        if turns:
            _, late = await asyncio.wait(turns, timeout=WAIT_SECONDS + LATE_SECONDS)
            assert not late

    asyncio.run(scenario())
