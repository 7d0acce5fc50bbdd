"""Clocks that jump: the memory store and the scripts decide alike, and no wait is longer than its limit can make it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.model import Limits, RateLimit, Window
from gateway.quota.link import link_to
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.valkey import ValkeyQuotaStore
from gateway.quota.windows import longest_wait
from tests.support.quota import PATIENCE, HandClock, fresh_prefix
from tests.support.valkey import running_store

LIMITS = Limits(upstream_calls=dict.fromkeys(Window, 3))
RATE = Limits(rate=RateLimit(0.5, 3))
DAY = 86_400.0
SPANS = [
    0.001,
    1.0,
    2.4,
    2.6,
    59.0,
    70.0,
    150.0,
    3600.0,
    3601.0,
    DAY,
    1.3 * DAY,
    30 * DAY,
    31 * DAY,
    45 * DAY,
    400 * DAY,
]
STEPS = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from(SPANS)),
    st.tuples(st.just("jump"), st.sampled_from([*SPANS, *(-span for span in SPANS)])),
    st.tuples(st.just("reserve"), st.just(0.0)),
    st.tuples(st.just("admit"), st.just(0.0)),
    st.tuples(st.just("look"), st.just(0.0)),
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_store() as store:
        yield store.url


@settings(max_examples=200, deadline=None)
@given(start=st.floats(1.6e9, 1.9e9), steps=st.lists(STEPS, min_size=5, max_size=40))
def test_both_stores_count_alike_whatever_the_clock_does(
    url: str, start: float, steps: list[tuple[str, float]]
) -> None:
    """The same verdicts, counts, ends and waits; each wait within its window, each rate's wait within its interval."""
    asyncio.run(both(url, start, steps))


async def both(url: str, start: float, steps: list[tuple[str, float]]) -> None:
    clock = HandClock(start)
    memory = MemoryQuotaStore(clock)
    shared = ValkeyQuotaStore(link_to(url, prefix=fresh_prefix()), time_us=clock.now_us, monotonic=clock.monotonic)
    try:
        for number, (step, seconds) in enumerate(steps):
            if step == "advance":
                clock.advance(seconds)
            elif step == "jump":
                clock.jump(max(seconds, 86_400 - clock.now()))
            elif step == "admit":
                verdict = await shared.admit("t", RATE, f"c{number}", PATIENCE)
                assert verdict.wait_us <= 2_000_000
            elif step == "reserve":
                one, other = [await s.reserve("t", LIMITS, f"r{number}", PATIENCE) for s in (memory, shared)]
                assert (one.limit_id, one.wait_us, one.remaining) == (other.limit_id, other.wait_us, other.remaining)
                assert one.wait_us <= max(map(longest_wait, Window))
            else:
                first, second = [await s.look("t", LIMITS, PATIENCE) for s in (memory, shared)]
                assert first.counts == second.counts
                for window, count in first.counts.items():
                    assert 0 < count.end_us - first.now_us <= longest_wait(window)
    finally:
        await shared.aclose()
        await asyncio.sleep(0)
