"""What a jump of the clock does to limits, over every quota store: it is over when it is over, and waits come true."""

from __future__ import annotations

import pytest

from gateway.model import Limits, Window
from gateway.quota.store import SLOT_LEASE_US, Charge
from gateway.quota.valkey import ValkeyQuotaStore
from gateway.quota.windows import DAY, longest_wait
from tests.support.quota import PATIENCE, Harness, admit, tenant, used, utc

LEASE = SLOT_LEASE_US / 1e6
JUMPS = [2.0, 60.0, 3600.0, 86_400.0, 31 * 86_400.0]


async def spend_rate(quota: Harness, limits: Limits) -> int:
    """Calls until the rate refuses."""
    count = 0
    while await admit(quota, "a", limits) == "":
        count += 1
    return count


@pytest.mark.parametrize("seconds", JUMPS)
async def test_a_clock_that_was_ahead_refuses_no_longer_than_the_rate(quota: Harness, seconds: float) -> None:
    """Ahead for a moment, then right again: the wait that is named is at most an interval, and comes true to the moment."""
    limits = tenant(rate=(2, 3)).limits
    await spend_rate(quota, limits)
    quota.clock.jump(seconds)
    await spend_rate(quota, limits)
    quota.clock.jump(-seconds)
    refused = await quota.store.admit("a", limits, quota.id(), PATIENCE)
    assert (refused.limit_id, refused.wait_us) == ("rate", 500_000)
    quota.advance(0.499)
    assert await admit(quota, "a", limits) == "rate"
    quota.advance(0.002)
    assert await admit(quota, "a", limits) == ""


@pytest.mark.parametrize("seconds", JUMPS)
async def test_what_is_reported_after_a_jump_comes_true(quota: Harness, seconds: float) -> None:
    """GetQuota's reset is when the bucket is empty, whether anybody called meanwhile or not."""
    limits = tenant(rate=(2, 3)).limits
    quota.clock.jump(seconds)
    await spend_rate(quota, limits)
    quota.clock.jump(-seconds)
    snapshot = await quota.store.look("a", limits, PATIENCE)
    assert snapshot.level == 3_000_000_000
    quota.advance(1.5)
    assert (await quota.store.look("a", limits, PATIENCE)).level == 0
    assert await spend_rate(quota, limits) == 3


@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0, 3600.0])
async def test_a_clock_that_steps_back_gives_no_burst(quota: Harness, seconds: float) -> None:
    """As NTP does, or a fail-over: what is used stays used, and drains on from there."""
    limits = tenant(rate=(1, 5), day=100).limits
    assert await spend_rate(quota, limits) == 5
    for _ in range(3):
        quota.clock.jump(-seconds)
        assert await spend_rate(quota, limits) == 0
    quota.advance(2)
    assert await spend_rate(quota, limits) == 2


@pytest.mark.parametrize("window", list(Window))
@pytest.mark.parametrize("seconds", [3600.0, 40 * 86_400.0, 400 * 86_400.0])
async def test_a_window_opened_in_the_future_is_the_one_of_now(quota: Harness, window: Window, seconds: float) -> None:
    """What was spent while the clock was ahead counts, until the window that holds now is over; then there is room."""
    quota.clock.set_wall(utc("2026-03-10T12:00:30"))
    limits = Limits(upstream_calls={window: 2})
    quota.clock.jump(seconds)
    for _ in range(2):
        assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    quota.clock.jump(-seconds)
    refused = await quota.store.reserve("a", limits, quota.id(), PATIENCE)
    assert refused.limit_id == f"upstream_calls_per_{window.value}"
    assert 0 < refused.wait_us <= longest_wait(window)
    end = (await quota.store.look("a", limits, PATIENCE)).counts[window].end_us
    assert end == quota.clock.now_us() + refused.wait_us
    quota.advance(refused.wait_us / 1e6 - 0.001)
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id
    quota.advance(0.002)
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""


@pytest.mark.parametrize("seconds", [70, 100])
@pytest.mark.parametrize("by", ["a look", "a call"])
async def test_a_window_put_right_ends_and_counts_again(quota: Harness, by: str, seconds: int) -> None:
    """Opened while the clock was two minutes ahead, put right by whoever comes next: then the next ones count too."""
    quota.clock.set_wall(utc("2026-03-10T12:00:30"))
    limits = tenant(minute=2).limits
    quota.clock.jump(120)
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    quota.clock.jump(-120)
    if by == "a look":
        assert await used(quota, "a", limits) == {Window.MINUTE: 1}
    else:
        assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    for _ in range(3):
        quota.advance(seconds)
        verdicts = [(await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id for _ in range(3)]
        assert verdicts == ["", "", "upstream_calls_per_minute"]


@pytest.mark.parametrize(
    ("window", "now", "back"),
    [
        ("minute", "2026-03-10T12:01:00.5", 1.0),
        ("hour", "2026-03-10T12:00:30", 120.0),
        ("day", "2026-03-10T00:20:00", 3000.0),
        ("month", "2026-03-01T03:00:00", 86_400.0),
    ],
)
async def test_a_small_step_back_opens_no_window_twice(quota: Harness, window: str, now: str, back: float) -> None:
    """Over the window's beginning, by at most a 24th of its length: what is used up stays so until its end."""
    quota.clock.set_wall(utc(now))
    limits = Limits(upstream_calls={Window(window): 1})
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    quota.clock.jump(-back)
    refused = await quota.store.reserve("a", limits, quota.id(), PATIENCE)
    assert refused.limit_id
    assert longest_wait(Window(window)) >= refused.wait_us > 0
    quota.clock.jump(back)
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id


async def test_a_refund_after_a_jump_takes_nothing_from_another_window(quota: Harness) -> None:
    """A reservation of the future's window: its refund leaves the count of the one that is open alone, or lowers it by one."""
    quota.clock.set_wall(utc("2026-03-10T12:00:30"))
    limits = tenant(day=9).limits
    quota.clock.jump(40 * 86_400)
    await quota.store.reserve("a", limits, "future", PATIENCE)
    quota.clock.jump(-40 * 86_400)
    await quota.store.reserve("a", limits, "now", PATIENCE)
    quota.store.refund("a", "future")
    assert (await used(quota, "a", limits))[Window.DAY] in (1, 2)


async def test_a_charge_of_an_outage_is_taken_after_a_jump(quota: Harness) -> None:
    """Written back once, to the window of now."""
    quota.clock.set_wall(utc("2026-03-10T12:00:30"))
    limits = tenant(day=9).limits
    quota.clock.jump(40 * 86_400)
    await quota.store.reserve("a", limits, "1", PATIENCE)
    quota.clock.jump(-40 * 86_400)
    today = quota.clock.now_us() - quota.clock.now_us() % DAY + DAY
    await quota.store.charge("a", [Charge("2", {Window.DAY: today})], PATIENCE)
    assert (await quota.store.look("a", limits, PATIENCE)).counts[Window.DAY] == (2, today)


async def test_a_dead_replicas_slot_of_the_future_is_free_after_a_lease(shared: Harness) -> None:
    """Taken while the clock was ahead, and never renewed: it would be held until that time comes."""
    limits = tenant(concurrency=1).limits
    shared.clock.jump(3600)
    assert await admit(shared, "a", limits, "dead") == ""
    shared.clock.jump(-3600)
    other = shared.replica()
    assert (await other.admit("a", limits, "1", PATIENCE)).limit_id == "concurrency"
    shared.advance(LEASE - 0.5)
    assert (await other.admit("a", limits, "2", PATIENCE)).limit_id == "concurrency"
    shared.advance(0.6)
    assert (await other.admit("a", limits, "3", PATIENCE)).limit_id == ""


async def test_a_living_replicas_slot_outlasts_a_jump(shared: Harness) -> None:
    """Its call still runs: by renewing, the replica keeps the slot through a jump ahead and two back."""
    limits = tenant(concurrency=2).limits
    store, other = shared.store, shared.replica()
    assert isinstance(store, ValkeyQuotaStore)
    assert await admit(shared, "a", limits, "long") == ""
    store.renew()
    assert (await store.look("a", limits, PATIENCE)).slots == 1
    for seconds in (3600, -3600, -3600):
        shared.clock.jump(seconds)
        # Another's call comes first. By a clock that is ahead the lease is over, and this drops the slot.
        assert (await other.admit("a", limits, "first", PATIENCE)).limit_id == ""
        other.release("a", "first")
        for number in range(5):
            store.renew()
            assert (await store.look("a", limits, PATIENCE)).slots >= 1
            await other.look("a", limits, PATIENCE)
            calls = [f"{seconds} {number} {call}" for call in "ab"]
            verdicts = [(await other.admit("a", limits, call, PATIENCE)).limit_id for call in calls]
            for call in calls:
                other.release("a", call)
            if number:
                assert verdicts == ["", "concurrency"], "the long call takes its place"
            shared.advance(4)
    store.release("a", "long")
    await other.look("a", limits, PATIENCE)
    assert (await store.look("a", limits, PATIENCE)).slots == 0
