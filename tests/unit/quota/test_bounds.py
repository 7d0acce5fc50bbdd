"""What a replica keeps of a tenant is bounded, however many calls it makes and however long the store is unavailable."""

from __future__ import annotations

import pytest
import structlog.testing

from gateway.quota.known import Known
from gateway.quota.link import link_to
from gateway.quota.store import Count
from gateway.quota.store_clock import StoreClock
from gateway.quota.usage import KEPT_DAYS, Batch, Figures, MemoryUsageStore
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.quota import tenant
from tests.support.valkey import free_port

DAY = 86_400


async def test_no_tenants_notices_pile_up_while_the_store_is_unavailable() -> None:
    """Also of a tenant whose turn to be written never comes, since another's fails first."""
    store = ValkeyQuotaStore(link_to(f"valkey://127.0.0.1:{free_port()}/0"))
    store.release("first", "x")
    for number in range(60_000):
        store.hold("kyc", f"c{number}")
        store.release("kyc", f"c{number}")
        store.settle("kyc", f"s{number}")
        store.refund("kyc", f"r{number}")
    known = store._tenants["kyc"]
    kept = [known.freed, known.settled, known.refunded]
    assert all(len(one) <= 20_000 for one in kept)
    assert [one[-1] for one in kept] == ["c59999", "s59999", "r59999"], "the newest are kept"
    assert not known.held
    assert not known.taken
    await store.aclose()


def test_the_count_to_say_again_is_of_the_window_that_the_store_named_last() -> None:
    """After its clock was ahead for a moment the store names an earlier window: the later one was none."""
    known = Known()
    windows = known.terms(tenant(day=9).limits).windows
    for count in (Count(3, 1000), Count(2, 1000)):
        known.saw(windows, [count])
    assert known.seen == {"day": Count(3, 1000)}
    for count in (Count(7, 9000), Count(1, 1000)):
        known.saw(windows, [count])
    assert known.seen == {"day": Count(1, 1000)}


async def test_the_ledger_in_memory_keeps_400_days_whatever_the_clock_said() -> None:
    """A clock that is ten years ahead for a moment costs it one day; it is the number of days that is bounded."""
    store = MemoryUsageStore()
    for day in range(3 * KEPT_DAYS):
        await store.add(Batch(str(day), "a", {day * DAY: Figures(searches=day)}), 1.0)
        if day == 2 * KEPT_DAYS:
            await store.add(Batch("ahead", "a", {day * DAY + 3650 * DAY: Figures(searches=1)}), 1.0)
    await store.add(Batch("b", "b", {0: Figures(searches=9)}), 1.0)
    last = [day * DAY for day in range(2 * KEPT_DAYS, 3 * KEPT_DAYS)]
    assert [one.searches for one in await store.read("a", last, 1.0)] == list(range(2 * KEPT_DAYS, 3 * KEPT_DAYS))
    assert (await store.read("b", [0], 1.0))[0].searches == 9
    assert len(store._tenants["a"]) <= KEPT_DAYS + 2


@pytest.mark.parametrize("jump", [3600, -3600, 6])
def test_a_jump_of_the_stores_clock_is_noticed_and_logged_once(jump: int) -> None:
    """By the replica's monotonic clock; what is late, drifts or is corrected by NTP is no jump."""
    clock, now = StoreClock(), 1_000_000_000
    offset = 1_763_800_000_000_000
    with structlog.testing.capture_logs() as log:
        assert clock.read(now + offset, now) == 0
        for late in (0, 40_000, 900_000, 0):
            now += 1_000_000
            assert clock.read(now + offset - late, now) == 0
        offset += jump * 1_000_000
        assert clock.read(now + offset, now) == jump * 1_000_000
        assert clock.read(now + offset, now) == 0
    assert log == [{"event": "quota.store_clock_jumped", "log_level": "warning", "jump_seconds": float(jump)}]


def test_a_clock_that_was_not_read_for_long_says_nothing() -> None:
    """Two good clocks drift apart by seconds a day."""
    clock = StoreClock()
    clock.read(0, 0)
    assert clock.read(10_000_000 + 2 * 3_600_000_000, 2 * 3_600_000_000) == 0
