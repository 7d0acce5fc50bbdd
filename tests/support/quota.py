"""Quota stores for tests, with a clock that the test moves, and several replicas on one store."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.model import Limits, RateLimit, Tenant, Window
from gateway.quota.link import link_to
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.store import QuotaStore
from gateway.quota.valkey import ValkeyQuotaStore

PATIENCE = 5.0
"""A budget that a busy machine does not exceed, for tests that are not about budgets."""

_prefixes = itertools.count(1)


class HandClock:
    """A clock that stands until it is moved."""

    def __init__(self, start: float = 1_763_800_000.0) -> None:
        self._now = start
        self._monotonic = 1000.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def now_us(self) -> int:
        return int(self._now * 1_000_000)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """The wall clock alone goes ahead or back."""
        self._now += seconds

    def set_wall(self, moment: datetime) -> None:
        """The wall clock is set; the monotonic one goes by as much if it is forward."""
        seconds = moment.timestamp() - self._now
        self._now = moment.timestamp()
        self._monotonic += max(0.0, seconds)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Harness:
    """One store as seen by one replica; `replica()` opens another on the same data."""

    kind: str
    clock: HandClock
    store: QuotaStore
    replica: Callable[[], QuotaStore]
    prefix: str = ""
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def id(self) -> str:
        return f"id{next(self.ids)}"


def fresh_prefix() -> str:
    """Keys of one test, on a server that many share."""
    return f"test{next(_prefixes)}:"


@contextlib.asynccontextmanager
async def memory_harness() -> AsyncIterator[Harness]:
    clock = HandClock()
    store = MemoryQuotaStore(clock)
    yield Harness("memory", clock, store, lambda: store)


@contextlib.asynccontextmanager
async def valkey_harness(kind: str, url: str) -> AsyncIterator[Harness]:
    clock = HandClock()
    prefix = fresh_prefix()
    opened: list[ValkeyQuotaStore] = []

    def replica() -> QuotaStore:
        store = ValkeyQuotaStore(link_to(url, prefix=prefix), time_us=clock.now_us, monotonic=clock.monotonic)
        opened.append(store)
        return store

    try:
        yield Harness(kind, clock, replica(), replica, prefix)
    finally:
        for store in opened:
            await store.aclose()


def tenant(
    name: str = "kyc",
    *,
    rate: tuple[float, int] | None = None,
    concurrency: int | None = None,
    **windows: int,
) -> Tenant:
    """A tenant with limits: `tenant(rate=(50, 100), concurrency=32, day=1000)`."""
    limits = Limits(
        rate=RateLimit(*rate) if rate else None,
        concurrency=concurrency,
        upstream_calls={Window(window): limit for window, limit in windows.items()},
    )
    return Tenant(name, limits=limits)


async def admit(quota: Harness, who: str, limits: Limits, call: str | None = None) -> str:
    """The limit that refused a call, "" if none did."""
    verdict = await quota.store.admit(who, limits, call or quota.id(), PATIENCE)
    return verdict.limit_id


async def used(quota: Harness, who: str, limits: Limits) -> dict[Window, int]:
    """What the store counts in each window."""
    snapshot = await quota.store.look(who, limits, PATIENCE)
    return {window: count.used for window, count in snapshot.counts.items()}
