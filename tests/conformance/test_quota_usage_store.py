"""What every usage store promises, and the ledger over each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from gateway.quota.link import link_to
from gateway.quota.store import OutageCause, StoreUnavailable
from gateway.quota.usage import Batch, DailyUsage, Figures, MemoryUsageStore, UsageLedger, UsageStore
from gateway.quota.usage_valkey import ValkeyUsageStore
from tests.support.quota import PATIENCE, HandClock, fresh_prefix, utc
from tests.support.valkey import running_store

DAY = 86_400


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_store() as store:
        yield store.url


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest, url: str) -> AsyncIterator[UsageStore]:
    if request.param == "memory":
        yield MemoryUsageStore()
        return
    link = link_to(url, prefix=fresh_prefix())
    yield ValkeyUsageStore(link)
    link.disconnect()


class LosingStore:
    """As often as it is told, writes and then says that it did not, or does not write (`refuses`)."""

    def __init__(self, store: UsageStore, losses: int, *, refuses: bool = False) -> None:
        self._store = store
        self.losses = losses
        self._refuses = refuses

    async def add(self, batch: Batch, budget_seconds: float) -> None:
        if not (self.losses and self._refuses):
            await self._store.add(batch, budget_seconds)
        if self.losses:
            self.losses -= 1
            raise StoreUnavailable(OutageCause.TIMEOUT)

    async def read(self, tenant: str, days: Sequence[int], budget_seconds: float) -> list[Figures]:
        return await self._store.read(tenant, days, budget_seconds)


async def test_figures_are_summed_by_tenant_and_day(store: UsageStore) -> None:
    """Every figure in its place; a day without any is all zeros."""
    first, second = int(utc("2028-02-28T00:00:00").timestamp()), int(utc("2028-02-29T00:00:00").timestamp())
    await store.add(Batch("1", "a", {first: Figures(1, 2, 3, 4, 5, 6), second: Figures(searches=7)}), PATIENCE)
    await store.add(Batch("2", "a", {second: Figures(searches=1, charged_units=9)}), PATIENCE)
    await store.add(Batch("3", "b", {second: Figures(failures=1)}), PATIENCE)
    found = await store.read("a", [first, second, second + DAY], PATIENCE)
    assert found == [Figures(1, 2, 3, 4, 5, 6), Figures(searches=8, charged_units=9), Figures()]
    assert await store.read("b", [second], PATIENCE) == [Figures(failures=1)]


async def test_the_ledger_files_what_happened_under_its_day(store: UsageStore) -> None:
    """The second before midnight belongs to the old day; a period takes in every day that it touches."""
    clock = HandClock(utc("2026-02-28T23:59:59").timestamp())
    ledger = UsageLedger(store, clock, budget_seconds=PATIENCE)
    ledger.today("a").searches += 1
    ledger.today("b").cache_hits += 5
    clock.advance(1)
    ledger.today("a").searches += 2
    rows = await ledger.daily("a", utc("2026-02-28T12:00:00").timestamp(), clock.now() + 1)
    march = int(utc("2026-03-01T00:00:00").timestamp())
    assert rows == [DailyUsage(march - DAY, Figures(searches=1)), DailyUsage(march, Figures(searches=2))]
    sums = await ledger.sums(["a", "b", "c"], march - DAY, march + 1)
    assert sums == {"a": Figures(searches=3), "b": Figures(cache_hits=5), "c": Figures()}


async def test_the_end_of_a_period_is_exclusive(store: UsageStore) -> None:
    """A period that ends at midnight has no row for the day that begins."""
    ledger = UsageLedger(store, HandClock(), budget_seconds=PATIENCE)
    midnight = utc("2026-03-01T00:00:00").timestamp()
    assert [row.day for row in await ledger.daily("a", midnight - 1, midnight)] == [int(midnight) - DAY]


async def test_the_ledger_writes_within_a_second_and_at_the_end(store: UsageStore) -> None:
    """Another replica sees what was noted, without being asked to; and the rest after `aclose`."""
    clock = HandClock()
    ledger = UsageLedger(store, clock, budget_seconds=PATIENCE)
    await ledger.start()
    ledger.today("a").searches += 1
    today = int(clock.now()) // DAY * DAY
    async with asyncio.timeout(30):
        while (await store.read("a", [today], PATIENCE))[0].searches == 0:
            await asyncio.sleep(0.05)
    ledger.today("a").searches += 1
    await ledger.aclose()
    assert (await store.read("a", [today], PATIENCE))[0].searches == 2


async def test_the_end_is_no_reason_to_give_up_at_once(store: UsageStore) -> None:
    """A store that hesitates while the gateway ends gets the last figures all the same."""
    clock = HandClock()
    ledger = UsageLedger(LosingStore(store, losses=3, refuses=True), clock, budget_seconds=PATIENCE)
    ledger.today("a").searches += 1
    await ledger.aclose()
    assert (await store.read("a", [int(clock.now()) // DAY * DAY], PATIENCE))[0].searches == 1


@pytest.mark.parametrize("refuses", [False, True], ids=["written", "not written"])
async def test_a_batch_whose_answer_was_lost_counts_once(url: str, refuses: bool) -> None:
    """It is sent again as it was, by its id; what came since goes in a batch of its own, and nothing is lost."""
    link = link_to(url, prefix=fresh_prefix())
    clock = HandClock()
    losing = LosingStore(ValkeyUsageStore(link), losses=2, refuses=refuses)
    ledger = UsageLedger(losing, clock, budget_seconds=PATIENCE)
    for _ in range(2):
        ledger.today("a").searches += 1
        with pytest.raises(StoreUnavailable):
            await ledger.write()
    ledger.today("a").searches += 1
    rows = await ledger.daily("a", clock.now(), clock.now() + 1)
    assert [row.figures.searches for row in rows] == [3]
    link.disconnect()
