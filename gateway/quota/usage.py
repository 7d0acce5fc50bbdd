"""The ledger: what each tenant did on each day (UTC), for `GetUsage` and `ListTenantUsage`.

`search.py` notes what happened, which costs a few additions; the ledger writes it in batches at least once a second and at
the end. It is a record, not a limit: nothing is refused by it, and an outage of its store delays it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import NamedTuple, Protocol

from gateway.clock import Clock
from gateway.quota.store import STORE_BUDGET_SECONDS, OutageCause, StoreUnavailable

_DAY_SECONDS = 86_400
_WRITE_SECONDS = 0.9
"""Between two writes; with the write itself it is at least one a second."""

_CLOSE_SECONDS = 1.0
_AGAIN_SECONDS = 0.05
_LEAST_SECONDS = 0.005
"""For the next step when a late event loop, not the store, has used up the time."""

KEPT_DAYS = 400
"""How long a day's figures are kept."""

_MOST_DAYS = KEPT_DAYS + 2
"""A period of 400 days touches 401, and the day that begins is one more."""


@dataclass(slots=True)
class Figures:
    """What was counted. `charged_units` are upstream calls that stayed charged, after refunds."""

    searches: int = 0
    cache_hits: int = 0
    quota_rejections: int = 0
    failures: int = 0
    upstream_calls: int = 0
    charged_units: int = 0

    def add(self, other: Figures) -> None:
        """Adds another's figures to these."""
        self.searches += other.searches
        self.cache_hits += other.cache_hits
        self.quota_rejections += other.quota_rejections
        self.failures += other.failures
        self.upstream_calls += other.upstream_calls
        self.charged_units += other.charged_units


NAMES = tuple(one.name for one in fields(Figures))


class DailyUsage(NamedTuple):
    """One tenant's day. `day` is its midnight, in seconds since 1970."""

    day: int
    figures: Figures


class Batch(NamedTuple):
    """What one tenant did since the last batch, by day. Written once, however often it is sent."""

    id: str
    tenant: str
    days: dict[int, Figures]


class UsageStore(Protocol):
    """Keeps the ledger. Both methods raise `StoreUnavailable` in an outage, within their budget."""

    async def add(self, batch: Batch, budget_seconds: float) -> None:
        """Adds a batch, unless one with its id was added before."""
        ...

    async def read(self, tenant: str, days: Sequence[int], budget_seconds: float) -> list[Figures]:
        """The figures of each day (a midnight, seconds since 1970), zeros where there are none."""
        ...


class MemoryUsageStore:
    """A ledger in this process."""

    def __init__(self) -> None:
        self._tenants: dict[str, dict[int, Figures]] = {}

    async def add(self, batch: Batch, budget_seconds: float) -> None:
        """See `UsageStore.add`; here no batch is ever sent twice."""
        days = self._tenants.setdefault(batch.tenant, {})
        for day, figures in batch.days.items():
            days.setdefault(day, Figures()).add(figures)
        # By number, not by date: a clock that is years ahead for a moment must not make it forget everything.
        while len(days) > _MOST_DAYS:
            del days[min(days)]

    async def read(self, tenant: str, days: Sequence[int], budget_seconds: float) -> list[Figures]:
        """See `UsageStore.read`."""
        known = self._tenants.get(tenant, {})
        return [replace(known[day]) if day in known else Figures() for day in days]


class UsageLedger:
    """Collects figures and writes them to a store. `budget_seconds` is for one tenant's batches, or for its report."""

    def __init__(self, store: UsageStore, clock: Clock, *, budget_seconds: float = STORE_BUDGET_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._today: dict[str, Figures] = {}
        self._day = self._midnight(clock.now())
        self._collected: dict[str, dict[int, Figures]] = {}
        self._unsent: dict[str, Batch] = {}
        self._mark = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None

    @staticmethod
    def _midnight(now: float) -> int:
        return int(now) // _DAY_SECONDS * _DAY_SECONDS

    async def start(self) -> None:
        """Begins to write once a second."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_always())

    def today(self, tenant: str) -> Figures:
        """The figures of the tenant's day so far, to add to: `ledger.today(id).searches += 1`. Do not keep it."""
        if self._clock.now() - self._day >= _DAY_SECONDS:
            self._collect()
        figures = self._today.get(tenant)
        if figures is None:
            figures = self._today[tenant] = Figures()
        return figures

    def _collect(self) -> None:
        """Moves what was noted under its day."""
        for tenant, figures in self._today.items():
            self._collected.setdefault(tenant, {}).setdefault(self._day, Figures()).add(figures)
        self._today = {}
        self._day = self._midnight(self._clock.now())

    async def _write_always(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self._written()

    async def write(self) -> None:
        """Writes all that was noted. Raises `StoreUnavailable`; then nothing is lost, and nothing counts twice."""
        self._collect()
        for tenant in {*self._collected, *self._unsent}:
            await self._write(tenant, self._due())

    async def _write(self, tenant: str, due: float) -> None:
        # One tenant at a time, so that a report waits for no more than one batch of another's.
        async with self._writing:
            if self._left(due) <= 0:
                raise StoreUnavailable(OutageCause.TIMEOUT)
            # A batch whose answer was lost is sent as it was; what came since waits for the next one.
            await self._send(tenant, due)
            if tenant in self._collected:
                self._unsent[tenant] = self._next_batch(tenant)
                await self._send(tenant, due)

    def _next_batch(self, tenant: str) -> Batch:
        return Batch(f"{self._mark}{next(self._numbers):x}", tenant, self._collected.pop(tenant))

    async def _send(self, tenant: str, due: float) -> None:
        batch = self._unsent.get(tenant)
        if batch is not None:
            await self._store.add(batch, max(self._left(due), _LEAST_SECONDS))
            del self._unsent[tenant]

    def _due(self) -> float:
        return asyncio.get_running_loop().time() + self._budget_seconds

    @staticmethod
    def _left(due: float) -> float:
        return due - asyncio.get_running_loop().time()

    async def daily(self, tenant: str, start: float, end: float) -> list[DailyUsage]:
        """A row for each day from that of `start` to the last that begins before `end` (seconds since 1970).

        What this replica noted is written first. Raises `StoreUnavailable`.
        """
        due = self._due()
        self._collect()
        await self._write(tenant, due)
        days = list(range(self._midnight(start), int(-(-end // 1)), _DAY_SECONDS))
        found = await self._store.read(tenant, days, max(self._left(due), _LEAST_SECONDS))
        return [DailyUsage(day, figures) for day, figures in zip(days, found, strict=True)]

    async def sums(self, tenants: Sequence[str], start: float, end: float) -> dict[str, Figures]:
        """The sums over a period, for each tenant. Raises `StoreUnavailable`."""
        totals = {}
        for tenant in tenants:
            total = totals[tenant] = Figures()
            for row in await self.daily(tenant, start, end):
                total.add(row.figures)
        return totals

    async def aclose(self) -> None:
        """Stops, and writes what is left; tries for at most a second, since there is no later."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                while not await self._written():  # noqa: ASYNC110 - nothing tells when a store is back
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _written(self) -> bool:
        try:
            await self.write()
        except StoreUnavailable:
            return False
        return True


def figures_of(values: Sequence[int]) -> Figures:
    """Figures from their values, in the order of `NAMES`."""
    return Figures(*values)


def values_of(figures: Figures) -> tuple[int, ...]:
    """The values, in the order of `NAMES`."""
    return astuple(figures)
