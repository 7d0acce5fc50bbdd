"""A quota store in memory that fails when a test says so, and a gate over it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.model import Limits
from gateway.quota.gate import OutagePolicy, QuotaGate
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.store import Admitted, Charge, OutageCause, Reserved, StoreUnavailable
from tests.support.quota import HandClock


class FailingStore(MemoryQuotaStore):
    """Fails with `cause` while there is one: after it did what was asked, if `replies_lost`.

    Of its probes one in `slow_probes` takes too long.
    """

    def __init__(self, clock: HandClock) -> None:
        super().__init__(clock)
        self.cause: OutageCause | None = None
        self.replies_lost = False
        self.spent_seconds = 0.0
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.charging: list[bool] = []
        self.probes = 0
        self.slow_probes = 0
        self.budgets: set[float] = set()
        self.gate: QuotaGate

    async def admit(self, tenant: str, limits: Limits, call: str, budget_seconds: float) -> Admitted:
        if self.cause is None or self.replies_lost:
            verdict = await super().admit(tenant, limits, call, budget_seconds)
        self._fail()
        return verdict._replace(spent_seconds=self.spent_seconds)

    async def reserve(self, tenant: str, limits: Limits, reservation: str, budget_seconds: float) -> Reserved:
        if self.cause is None or self.replies_lost:
            verdict = await super().reserve(tenant, limits, reservation, budget_seconds)
        self.asked.set()
        await self.answers.wait()
        self._fail()
        return verdict

    async def recover(self, budget_seconds: float) -> None:
        self._fail()

    async def probe(self, budget_seconds: float) -> None:
        self.probes += 1
        self.budgets.add(budget_seconds)
        if self.slow_probes and self.probes % self.slow_probes == 0:
            raise StoreUnavailable(OutageCause.TIMEOUT)

    async def charge(self, tenant: str, charges: Sequence[Charge], budget_seconds: float) -> None:
        self.charging.append(self.gate.degraded)
        await super().charge(tenant, charges, budget_seconds)

    def _fail(self) -> None:
        if self.cause is not None:
            raise StoreUnavailable(self.cause)


def gate_over(store: FailingStore, clock: HandClock, policy: str = "share", replicas: int = 1) -> QuotaGate:
    store.gate = QuotaGate(
        store, clock=clock, policy=OutagePolicy(policy), expected_replicas=replicas, probe_seconds=0.001
    )
    return store.gate
