"""What every quota store promises, run over each of them."""

from __future__ import annotations

import pytest

from gateway.model import Limits, Window
from gateway.quota.store import SLOT_LEASE_US, Charge
from gateway.quota.windows import DAY, HOUR
from tests.support.quota import PATIENCE, Harness, admit, tenant, used, utc


async def test_a_rate_admits_its_burst_and_then_one_call_an_interval(quota: Harness) -> None:
    """GCRA: `burst` calls at once, then one each 1/per_second, and never one more."""
    limits = tenant(rate=(4, 3)).limits
    assert [await admit(quota, "a", limits) for _ in range(5)] == ["", "", "", "rate", "rate"]
    quota.advance(0.249)
    assert await admit(quota, "a", limits) == "rate"
    quota.advance(0.001)
    assert [await admit(quota, "a", limits) for _ in range(2)] == ["", "rate"]


async def test_a_rate_that_is_no_whole_interval_is_exact(quota: Harness) -> None:
    """3 calls a second are 3,000 in 1,000 seconds, not 2,999 or 3,001, though the interval is no whole number."""
    limits = tenant(rate=(3, 3000)).limits
    for _ in range(3000):
        assert await admit(quota, "a", limits) == ""
    quota.advance(1000)
    admitted = 0
    while await admit(quota, "a", limits) == "":
        admitted += 1
    assert admitted == 3000


async def test_the_wait_that_a_rate_names_is_the_exact_time(quota: Harness) -> None:
    """A call is refused a microsecond before the wait is over, and admitted when it is."""
    limits = tenant(rate=(3, 1)).limits
    assert await admit(quota, "a", limits) == ""
    refused = await quota.store.admit("a", limits, quota.id(), PATIENCE)
    assert refused.wait_us == 333_334
    quota.advance((refused.wait_us - 2) / 1e6)
    assert await admit(quota, "a", limits) == "rate"
    quota.advance(3 / 1e6)
    assert await admit(quota, "a", limits) == ""


async def test_concurrency_counts_calls_that_are_not_released(quota: Harness) -> None:
    """A released slot is free for the tenant's next call."""
    limits = tenant(concurrency=2).limits
    assert [await admit(quota, "a", limits, call) for call in ("1", "2", "3")] == ["", "", "concurrency"]
    quota.store.release("a", "1")
    assert [await admit(quota, "a", limits, call) for call in ("4", "5")] == ["", "concurrency"]


async def test_releasing_twice_or_an_unknown_call_frees_nothing_else(quota: Harness) -> None:
    """Releases are idempotent by the call's id."""
    limits = tenant(concurrency=2).limits
    assert [await admit(quota, "a", limits, call) for call in ("1", "2")] == ["", ""]
    for call in ("1", "1", "unknown"):
        quota.store.release("a", call)
    assert [await admit(quota, "a", limits, call) for call in ("3", "4")] == ["", "concurrency"]


async def test_a_refusal_by_concurrency_does_not_charge_the_rate(quota: Harness) -> None:
    """Admission checks all limits and charges all, or none."""
    limits = tenant(rate=(0.001, 2), concurrency=1).limits
    assert [await admit(quota, "a", limits, call) for call in ("1", "2", "3", "4")] == ["", *["concurrency"] * 3]
    quota.store.release("a", "1")
    assert await admit(quota, "a", limits, "5") == ""


async def test_a_refusal_by_the_rate_takes_no_slot(quota: Harness) -> None:
    """Admission checks all limits and charges all, or none."""
    limits = tenant(rate=(1, 1), concurrency=2).limits
    assert [await admit(quota, "a", limits) for _ in range(3)] == ["", "rate", "rate"]
    assert (await quota.store.look("a", limits, PATIENCE)).slots == 1


async def test_the_same_call_again_is_charged_once(quota: Harness) -> None:
    """A question sent again gets its first verdict, and one charge."""
    limits = tenant(rate=(0.001, 2), concurrency=2).limits
    assert [await admit(quota, "a", limits, "1") for _ in range(3)] == ["", "", ""]
    assert await admit(quota, "a", limits, "2") == ""
    assert await admit(quota, "a", limits, "3") == "rate"


async def test_a_refused_call_asked_again_stays_refused(shared: Harness) -> None:
    """Also when there would be room by now: the first verdict counts."""
    limits = tenant(rate=(10, 1)).limits
    assert [await admit(shared, "a", limits, call) for call in ("1", "2")] == ["", "rate"]
    shared.advance(1)
    assert await admit(shared, "a", limits, "2") == "rate"
    assert await admit(shared, "a", limits, "3") == ""


async def test_windows_are_charged_together_or_not_at_all(quota: Harness) -> None:
    """A window that is used up keeps the others from being charged, and is named."""
    limits = tenant(minute=5, hour=2, day=9, month=9).limits
    verdicts = [await quota.store.reserve("a", limits, quota.id(), PATIENCE) for _ in range(4)]
    hour = "upstream_calls_per_hour"
    assert [verdict.limit_id for verdict in verdicts] == ["", "", hour, hour]
    assert [verdict.remaining for verdict in verdicts] == [1, 0, 0, 0]
    assert await used(quota, "a", limits) == {Window.MINUTE: 2, Window.HOUR: 2, Window.DAY: 2, Window.MONTH: 2}


async def test_the_used_up_window_that_ends_last_is_named(quota: Harness) -> None:
    """So the wait that is named is one after which every window has room."""
    quota.clock.set_wall(utc("2026-03-10T12:59:30"))
    limits = tenant(minute=1, day=1, hour=1).limits
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    refused = await quota.store.reserve("a", limits, quota.id(), PATIENCE)
    assert (refused.limit_id, refused.wait_us) == ("upstream_calls_per_day", 11 * HOUR + 30_000_000)


@pytest.mark.parametrize(
    ("window", "before", "after"),
    [
        ("minute", "2026-03-10T12:30:59", "2026-03-10T12:31:00"),
        ("hour", "2026-03-10T12:59:59", "2026-03-10T13:00:00"),
        ("day", "2026-03-10T23:59:59", "2026-03-11T00:00:00"),
        ("month", "2026-01-31T23:59:59", "2026-02-01T00:00:00"),
        ("month", "2028-02-28T23:59:59", None),  # a leap year: the 29th is still February
        ("month", "2028-02-29T23:59:59", "2028-03-01T00:00:00"),
        ("month", "2100-02-28T23:59:59", "2100-03-01T00:00:00"),
        ("month", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        ("day", "2026-03-29T00:59:59", None),  # clocks go forward in Europe: not in UTC
        ("hour", "2026-10-25T00:59:59", "2026-10-25T01:00:00"),
    ],
)
async def test_a_window_ends_by_the_calendar_in_utc(
    quota: Harness, window: str, before: str, after: str | None
) -> None:
    """The second before a window's end still counts in it; the end itself begins the next."""
    quota.clock.set_wall(utc(before))
    limits = Limits(upstream_calls={Window(window): 1})
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    refused = await quota.store.reserve("a", limits, quota.id(), PATIENCE)
    assert refused.limit_id == f"upstream_calls_per_{window}"
    quota.advance(1)
    again = await quota.store.reserve("a", limits, quota.id(), PATIENCE)
    if after is None:
        assert again.limit_id
    else:
        assert quota.clock.now() == utc(after).timestamp()
        assert refused.wait_us == 1_000_000
        assert again.limit_id == ""


async def test_a_clock_that_goes_back_opens_no_window_twice(quota: Harness) -> None:
    """A window once opened counts until its end, whatever the clock says."""
    quota.clock.set_wall(utc("2026-03-11T00:30:00"))
    limits = tenant(day=1).limits
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id == ""
    quota.clock.set_wall(utc("2026-03-10T23:30:00"))
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id
    quota.clock.set_wall(utc("2026-03-11T00:30:00"))
    assert (await quota.store.reserve("a", limits, quota.id(), PATIENCE)).limit_id


async def test_a_clock_that_goes_back_takes_nothing_from_a_rate(quota: Harness) -> None:
    """Time is kept monotonic: what the burst had left, it still has, and not more."""
    limits = tenant(rate=(1, 3)).limits
    assert await admit(quota, "a", limits) == ""
    quota.clock.set_wall(utc("2024-01-01T00:00:00"))
    assert [await admit(quota, "a", limits) for _ in range(3)] == ["", "", "rate"]


async def test_a_refund_gives_each_window_back_once(quota: Harness) -> None:
    """However often it is said, and not after it was settled."""
    limits = tenant(minute=2, day=2).limits
    for reservation in ("1", "2"):
        assert (await quota.store.reserve("a", limits, reservation, PATIENCE)).limit_id == ""
    for _ in range(3):
        quota.store.refund("a", "1")
    quota.store.settle("a", "2")
    await used(quota, "a", limits)
    quota.store.refund("a", "2")
    assert await used(quota, "a", limits) == {Window.MINUTE: 1, Window.DAY: 1}


async def test_a_refund_leaves_a_window_alone_that_began_since(quota: Harness) -> None:
    """The minute that was charged is over: the new one owes nothing, the day does."""
    quota.clock.set_wall(utc("2026-03-10T12:00:30"))
    limits = tenant(minute=5, day=5).limits
    await quota.store.reserve("a", limits, "1", PATIENCE)
    quota.advance(60)
    await quota.store.reserve("a", limits, "2", PATIENCE)
    quota.store.refund("a", "1")
    assert await used(quota, "a", limits) == {Window.MINUTE: 1, Window.DAY: 1}


async def test_a_reservation_asked_again_is_charged_once(quota: Harness) -> None:
    """A question sent again gets its first verdict, and one charge."""
    limits = tenant(day=5).limits
    verdicts = [await quota.store.reserve("a", limits, "1", PATIENCE) for _ in range(3)]
    assert [verdict.limit_id for verdict in verdicts] == ["", "", ""]
    assert await used(quota, "a", limits) == {Window.DAY: 1}


async def test_a_refund_that_overtakes_its_question_keeps_it_from_charging(quota: Harness) -> None:
    """A question may lie in a socket while the caller has given up: it must charge nothing when it is read."""
    limits = tenant(day=5).limits
    await used(quota, "a", limits)
    quota.store.refund("a", "late")
    await used(quota, "a", limits)
    await quota.store.reserve("a", limits, "late", PATIENCE)
    assert await used(quota, "a", limits) == {Window.DAY: 0}


async def test_charges_are_written_back_once_by_id(quota: Harness) -> None:
    """What was charged already, or refunded, is not charged again; limits do not matter, nor that the store refused."""
    limits = tenant(minute=1, day=2).limits
    await quota.store.reserve("a", limits, "1", PATIENCE)
    assert (await quota.store.reserve("a", limits, "no", PATIENCE)).limit_id
    counts = (await quota.store.look("a", limits, PATIENCE)).counts
    ends = {window: count.end_us for window, count in counts.items()}
    quota.store.refund("a", "gone")
    await used(quota, "a", limits)
    for _ in range(2):
        await quota.store.charge("a", [Charge(one, ends) for one in ("1", "2", "no", "gone")], PATIENCE)
    assert await used(quota, "a", limits) == {Window.MINUTE: 3, Window.DAY: 3}
    quota.store.refund("a", "2")
    assert await used(quota, "a", limits) == {Window.MINUTE: 2, Window.DAY: 2}


async def test_a_charge_of_a_window_that_is_over_is_left(quota: Harness) -> None:
    """What was spent yesterday is no debt of today; a replica's fast clock charges no window of tomorrow."""
    quota.clock.set_wall(utc("2026-03-10T12:00:00"))
    limits = tenant(day=9).limits
    today = int(utc("2026-03-11T00:00:00").timestamp()) * 1_000_000
    await quota.store.reserve("a", limits, "1", PATIENCE)
    await quota.store.charge("a", [Charge("old", {Window.DAY: today - DAY})], PATIENCE)
    assert await used(quota, "a", limits) == {Window.DAY: 1}
    await quota.store.charge("a", [Charge("fast", {Window.DAY: today + DAY})], PATIENCE)
    snapshot = await quota.store.look("a", limits, PATIENCE)
    assert snapshot.counts[Window.DAY] == (2, today)


async def test_looking_consumes_nothing_and_is_exact(quota: Harness) -> None:
    """Level, slots and counts as they are now, however often one looks."""
    limits = tenant(rate=(1, 4), concurrency=5, day=7).limits
    for call in ("1", "2", "3"):
        await admit(quota, "a", limits, call)
    quota.store.release("a", "2")
    await quota.store.reserve("a", limits, "1", PATIENCE)
    quota.advance(1.5)
    for _ in range(3):
        snapshot = await quota.store.look("a", limits, PATIENCE)
        assert snapshot.level == 1_500_000_000
        assert snapshot.slots == 2
        assert {window: count.used for window, count in snapshot.counts.items()} == {Window.DAY: 1}
        assert abs(snapshot.now_us - quota.clock.now_us()) <= 1


async def test_tenants_share_nothing(quota: Harness) -> None:
    """One tenant's use leaves another's limits as they were."""
    limits = tenant(rate=(1, 1), concurrency=1, day=1).limits
    for who in ("a", "b", "ab", "a:b"):
        assert await admit(quota, who, limits) == ""
        assert (await quota.store.reserve(who, limits, quota.id(), PATIENCE)).limit_id == ""


async def test_limits_may_change_while_calls_are_counted(quota: Harness) -> None:
    """What was used counts against the new limit."""
    await quota.store.reserve("a", tenant(day=1).limits, "1", PATIENCE)
    assert (await quota.store.reserve("a", tenant(day=2).limits, "2", PATIENCE)).limit_id == ""
    assert (await quota.store.reserve("a", tenant(day=1).limits, "3", PATIENCE)).limit_id
    for call in ("1", "2", "3"):
        await admit(quota, "a", tenant(concurrency=5).limits, call)
    assert await admit(quota, "a", tenant(concurrency=2).limits) == "concurrency"


async def test_a_limit_of_zero_admits_nothing(quota: Harness) -> None:
    """Zero is a limit; absence is none."""
    assert await admit(quota, "a", tenant(concurrency=0).limits) == "concurrency"
    assert (await quota.store.reserve("a", tenant(day=0).limits, "1", PATIENCE)).limit_id


async def test_a_call_held_without_the_store_takes_a_slot(quota: Harness) -> None:
    """A call admitted in an outage counts as in flight once the store knows of it, until its release."""
    limits = tenant(concurrency=1).limits
    quota.store.hold("a", "alone")
    assert (await quota.store.look("a", limits, PATIENCE)).slots == 1
    assert await admit(quota, "a", limits) == "concurrency"
    quota.store.release("a", "alone")
    assert await admit(quota, "a", limits) == ""


async def test_the_slots_of_a_dead_replica_are_free_within_15_seconds(shared: Harness) -> None:
    """A slot is a lease: nobody renews it, so it ends."""
    limits = tenant(concurrency=1).limits
    assert await admit(shared, "a", limits) == ""
    other = shared.replica()
    shared.advance(SLOT_LEASE_US / 1e6 - 0.001)
    assert (await other.admit("a", limits, "other1", PATIENCE)).limit_id == "concurrency"
    shared.advance(0.001)
    assert shared.clock.monotonic() <= 1000 + 15
    assert (await other.admit("a", limits, "other2", PATIENCE)).limit_id == ""


async def test_replicas_share_one_limit(shared: Harness) -> None:
    """Three replicas together get exactly the limit."""
    limits = tenant(rate=(0.001, 50), day=20).limits
    replicas = [shared.store, shared.replica(), shared.replica()]
    admitted = reserved = 0
    for index in range(90):
        store = replicas[index % 3]
        admitted += (await store.admit("a", limits, f"c{index}", PATIENCE)).limit_id == ""
        reserved += (await store.reserve("a", limits, f"r{index}", PATIENCE)).limit_id == ""
    assert (admitted, reserved) == (50, 20)
