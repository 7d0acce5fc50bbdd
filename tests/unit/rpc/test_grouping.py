"""While the process is busy, calls that come close together go on together; no others wait, and none waits long."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rpc.grouping import (
    BUSY_SHARE,
    GROUPS_REMEMBERED,
    MEASURED_CALLS,
    MOST_BYTES,
    MOST_TOGETHER,
    TRY_SECONDS,
    WAIT_SECONDS,
    Bursts,
)

# Of a machine that has other things to do.
LATE_SECONDS = 10.0
IMAGE_BYTES = 100_000


class Caller:
    """Sends calls at moments of its own making to a process that uses `share` of a processor."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self.now = 1000.0
        self.used = 50.0
        self.bursts = Bursts(lambda: self.used)

    def call(self, after: float = 0.0001, size: int = IMAGE_BYTES) -> asyncio.Future[None] | None:
        self.now += after
        self.used += after * self.share
        return self.bursts.join(self.now, size)

    def together(self, count: int) -> list[asyncio.Future[None]]:
        """Calls at one moment, all of which get a turn."""
        turns = [turn for turn in (self.call(0.0) for _ in range(count)) if turn is not None]
        assert len(turns) == count
        return turns

    async def alone(self) -> None:
        """Has the process known as busy, and its caller as one that sends each call after the last one's answer."""
        for _ in range(2 * MEASURED_CALLS):
            turn = self.call()
            if turn is not None:
                await turn
        # The next call is a try.
        self.now += TRY_SECONDS
        self.used += TRY_SECONDS


async def test_with_processor_time_to_spare_no_call_waits() -> None:
    caller = Caller(share=BUSY_SHARE - 0.01)
    assert [caller.call() for _ in range(5000)] == [None] * 5000


async def test_calls_of_a_busy_process_wait_until_it_has_time_again() -> None:
    caller = Caller(share=BUSY_SHARE + 0.01)
    # The first measurement has nothing to compare with.
    for _ in range(2 * MEASURED_CALLS - 1):
        assert caller.call() is None
    assert caller.call() is not None
    caller.share = BUSY_SHARE - 0.01
    for _ in range(MEASURED_CALLS):
        caller.call()
    assert [caller.call() for _ in range(5000)] == [None] * 5000


@pytest.mark.timed
async def test_as_many_as_may_go_on_together_do_so_at_once() -> None:
    caller = Caller()
    await caller.alone()
    begun = time.monotonic()
    turns = caller.together(MOST_TOGETHER - 1)
    assert not any(turn.done() for turn in turns)
    turns += caller.together(1)
    assert all(turn.done() for turn in turns)
    assert time.monotonic() - begun < WAIT_SECONDS


async def test_no_more_bytes_than_may_go_on_together() -> None:
    caller = Caller()
    await caller.alone()
    turn, last = caller.call(0.0, MOST_BYTES - 1), caller.call(0.0, 1)
    assert turn is not None
    assert last is not None
    assert turn.done()
    assert last.done()
    after = caller.call(0.0, MOST_BYTES - 1)
    assert after is not None
    assert not after.done(), "what has gone on does not count any more"


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
    await caller.alone()
    await asyncio.gather(*caller.together(2))
    for _ in range(100):
        first = caller.call(0.00001)
        assert first is not None
        assert not first.done()
        second = caller.call(0.00001)
        assert second is not None
        assert first.done(), "two came together last time, so two are enough"
        assert second.done()


async def test_a_group_that_shrinks_is_soon_waited_for_no_more() -> None:
    caller = Caller()
    await caller.alone()
    await asyncio.gather(*caller.together(8))
    waited = []
    for _ in range(3 * GROUPS_REMEMBERED):
        turn = caller.call(0.00001)
        waited.append(turn is not None and not turn.done())
        if turn is not None:
            await turn
    assert waited[0], "eight are expected"
    assert not any(waited[GROUPS_REMEMBERED:])


async def test_a_call_that_gives_up_takes_nobody_along() -> None:
    caller = Caller()
    await caller.alone()
    turns = caller.together(3)
    turns[1].cancel()
    await asyncio.wait_for(asyncio.gather(turns[0], turns[2]), WAIT_SECONDS + LATE_SECONDS)


WAVES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.00001, 0.0003, 0.002, 0.3]),
        st.integers(1, 40),
        st.sampled_from([0, IMAGE_BYTES, 5_000_000]),
        st.booleans(),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=25)
@given(WAVES, st.floats(0, 2))
def test_whatever_comes_everyone_goes_on_soon_and_not_too_many_at_once(
    waves: list[tuple[float, int, int, bool]], share: float
) -> None:
    async def scenario() -> None:
        caller = Caller(share)
        turns: dict[asyncio.Future[None], int] = {}
        for after, count, size, pause in waves:
            for _ in range(count):
                turn = caller.call(after, size)
                if turn is not None:
                    turns[turn] = size
                held = [size for turn, size in turns.items() if not turn.done()]
                assert len(held) < MOST_TOGETHER
                assert sum(held) < MOST_BYTES
            if pause:
                await asyncio.sleep(0)
        if turns:
            _, late = await asyncio.wait(turns, timeout=WAIT_SECONDS + LATE_SECONDS)
            assert not late

    asyncio.run(scenario())
