"""Decides whether a tenant may call, and whether a search may go upstream.

Steps 7, 10 and 12 of a call (see `search.py`), over any `QuotaStore`. Holds what happens while the store is out: the
policy, and what is written to the store when it is back. Knows no tenants' names but those it is asked about, no
gRPC, and not which store it has.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from enum import StrEnum

from gateway.clock import Clock
from gateway.errors import QuotaUnavailable, TenantConcurrencyExceeded, TenantQuotaExceeded, TenantRateLimited
from gateway.model import Tenant
from gateway.quota.admission import Admission, Reservation
from gateway.quota.nearly_used import NearlyUsed
from gateway.quota.outage import Outage
from gateway.quota.recovery import Recovery
from gateway.quota.standing import Standing
from gateway.quota.status import QuotaStatus, describe
from gateway.quota.store import (
    CONCURRENCY_WAIT_US,
    STORE_BUDGET_SECONDS,
    Admitted,
    Charge,
    QuotaStore,
    Snapshot,
    StoreUnavailable,
)

_UNAVAILABLE_RETRY_SECONDS = 1.0
_MOST_OWED = 100_000


class OutagePolicy(StrEnum):
    """What happens to calls while the store is out."""

    SHARE = "share"
    DENY = "deny"
    ALLOW = "allow"


def nobody(out: bool) -> None:  # noqa: FBT001 - the default listener
    """Listens to changes of the store's state, and does nothing."""


class QuotaGate:
    """Admits calls and reserves upstream calls. `expected_replicas` is how many share the limits in an outage.

    `on_outage` is told True when the store goes out and False when it is back. `budget_seconds` is how long one call may
    wait for the store in all; `probe_seconds`, how often a lost store is tried.
    """

    def __init__(
        self,
        store: QuotaStore,
        *,
        clock: Clock,
        policy: OutagePolicy = OutagePolicy.SHARE,
        expected_replicas: int = 1,
        on_outage: Callable[[bool], None] = nobody,
        budget_seconds: float = STORE_BUDGET_SECONDS,
        probe_seconds: float = 0.25,
    ) -> None:
        self.store = store
        self._budget_seconds = budget_seconds
        self._clock = clock
        self._policy = policy
        self._replicas = expected_replicas
        self._mark = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._outage = Outage(on_outage, self._numbers.__next__)
        self._standings: dict[str, Standing] = {}
        self.nearly_used = NearlyUsed(self._standings, clock)
        self._recovery = Recovery(
            store, self._outage, self._standings, clock, probe_seconds=probe_seconds, budget_seconds=budget_seconds
        )

    @property
    def degraded(self) -> bool:
        """Whether the store is out now."""
        return self._outage.open

    @property
    def waits(self) -> bool:
        """Whether `admit` waits for the store. If not, its first step is the whole coroutine."""
        return self.store.waits and not self._outage.open

    async def start(self) -> None:
        """Warms the store's connections. A store that is out does not stop the gateway from starting."""
        try:
            await self.store.start()
        except StoreUnavailable as failure:
            self._recovery.failed(failure)

    async def check(self) -> None:
        """Notices an outage that no call has met, because none asked the store lately. Call it now and then."""
        if self._outage.open:
            return
        await self.start()

    def refused_until(self, tenant: Tenant) -> float | None:
        """Until when (monotonic seconds) the tenant's rate certainly refuses, or None. No I/O, nothing is charged.

        For refusing on a call's headers. Exact: the rate's refusal is final until its time.
        """
        standing = self._standings.get(tenant.id)
        if standing is None or standing.refused_rate is None or standing.refused_rate != tenant.limits.rate:
            return None
        if self._clock.monotonic() < standing.refused_until:
            return standing.refused_until
        standing.refused_rate = None
        return None

    async def admit(self, tenant: Tenant) -> Admission:
        """Charges one call to rate and concurrency, or to neither.

        Raises `TenantRateLimited`, `TenantConcurrencyExceeded` (both say when to try again), or `QuotaUnavailable`.
        """
        limits = tenant.limits
        standing = self._standings.get(tenant.id)
        if standing is None:
            standing = self._standings[tenant.id] = Standing(self._replicas)
        if limits.rate is None and limits.concurrency is None:
            return Admission(self, tenant, standing, "", self._budget_seconds, None)
        call = f"{self._mark}{next(self._numbers):x}"
        if self._outage.open:
            return self._admit_alone(tenant, standing, call, self._budget_seconds)
        try:
            verdict = await self.store.admit(tenant.id, limits, call, self._budget_seconds)
        except StoreUnavailable as failure:
            self._recovery.failed(failure)
            try:
                return self._admit_alone(tenant, standing, call, 0.0)
            except Exception:
                self.store.release(tenant.id, call)  # The lost answer may have been yes.
                raise
        except BaseException:
            self.store.release(tenant.id, call)
            raise
        if self._outage.timeouts:
            self._outage.answered()
        if verdict.limit_id:
            raise self._refusal(tenant, standing, verdict)
        budget = self._budget_seconds - verdict.spent_seconds
        if budget < 0:
            # An answer that seems to have come after its time came in time: the event loop was late, not the store.
            budget = self._budget_seconds
        slot = call if limits.concurrency is not None else ""
        return Admission(self, tenant, standing, slot, budget, verdict.remaining)

    def _refusal(self, tenant: Tenant, standing: Standing, verdict: Admitted) -> Exception:
        wait = verdict.wait_us / 1_000_000
        if verdict.limit_id == "rate":
            # Counted from before the question, so that nothing is refused here that the store would admit.
            asked = self._clock.monotonic() - verdict.spent_seconds
            standing.refuse_until(tenant.limits.rate, asked + wait)
            return TenantRateLimited(tenant.id, "rate", retry_after_seconds=wait)
        return TenantConcurrencyExceeded(tenant.id, "concurrency", retry_after_seconds=wait)

    def _admit_alone(self, tenant: Tenant, standing: Standing, call: str, budget: float) -> Admission:
        """Admits without the store, by the policy, or raises."""
        if self._policy is OutagePolicy.DENY:
            raise QuotaUnavailable(retry_after_seconds=_UNAVAILABLE_RETRY_SECONDS)
        if self._policy is OutagePolicy.SHARE:
            self._take_share(tenant, standing)
        slot = ""
        if tenant.limits.concurrency is not None:
            slot = call
            self.store.hold(tenant.id, call)
        return Admission(self, tenant, standing, slot, budget, None, True)  # noqa: FBT003 - degraded

    def _take_share(self, tenant: Tenant, standing: Standing) -> None:
        limits, share = tenant.limits, standing.share
        if limits.concurrency is not None and standing.in_flight >= share.slots(limits.concurrency):
            wait = CONCURRENCY_WAIT_US / 1_000_000
            raise TenantConcurrencyExceeded(tenant.id, "concurrency", retry_after_seconds=wait)
        if limits.rate is not None:
            wait_us = share.wait_for_rate_us(limits.rate, int(self._clock.monotonic() * 1_000_000))
            if wait_us:
                raise TenantRateLimited(tenant.id, "rate", retry_after_seconds=wait_us / 1_000_000)

    async def reserve(self, admission: Admission) -> Reservation:
        """See `Admission.reserve`."""
        tenant, standing = admission.tenant, admission.standing
        limits = tenant.limits
        if not limits.upstream_calls:
            return Reservation(self, tenant, standing, "", None, admission.degraded)
        reservation = f"{self._mark}{next(self._numbers):x}"
        if self._outage.open or not admission.budget_seconds:
            return self._reserve_alone(tenant, standing, reservation)
        try:
            verdict = await self.store.reserve(tenant.id, limits, reservation, admission.budget_seconds)
        except StoreUnavailable as failure:
            admission.budget_seconds = 0.0
            self._recovery.failed(failure)
            try:
                return self._reserve_alone(tenant, standing, reservation)
            except Exception:
                self.store.refund(tenant.id, reservation)  # The lost answer may have been yes.
                raise
        except BaseException:
            self.store.refund(tenant.id, reservation)
            raise
        if self._outage.timeouts:
            self._outage.answered()
        if verdict.counts and (used := standing.looked(limits, verdict, self._clock.monotonic())):
            self.nearly_used.note(tenant.id, used)
        if verdict.limit_id:
            raise TenantQuotaExceeded(tenant.id, verdict.limit_id, retry_after_seconds=verdict.wait_us / 1_000_000)
        return Reservation(self, tenant, standing, reservation, verdict.remaining, admission.degraded)

    def _reserve_alone(self, tenant: Tenant, standing: Standing, reservation: str) -> Reservation:
        """Reserves without the store, by the policy, and notes what it must be told; or raises."""
        if self._policy is OutagePolicy.DENY:
            raise QuotaUnavailable(retry_after_seconds=_UNAVAILABLE_RETRY_SECONDS)
        now_us = standing.now_us(self._clock.monotonic(), self._clock.now())
        refused, wait_us, ends = standing.share.spend(tenant.limits, now_us, beyond=self._policy is OutagePolicy.ALLOW)
        if refused:
            raise TenantQuotaExceeded(tenant.id, refused, retry_after_seconds=wait_us / 1_000_000)
        if len(standing.owed) < _MOST_OWED:
            standing.owed[reservation] = Charge(reservation, ends)
        self._recovery.soon()
        return Reservation(self, tenant, standing, reservation, None, True)  # noqa: FBT003 - degraded

    async def limits(self, tenant: Tenant) -> QuotaStatus:
        """What the tenant has used and has left, to the moment. Consumes nothing, never raises for an outage."""
        if not self._outage.open:
            try:
                snapshot = await self.store.look(tenant.id, tenant.limits, self._budget_seconds)
            except StoreUnavailable as failure:
                self._recovery.failed(failure)
            else:
                self._outage.answered()
                return QuotaStatus(describe(tenant.limits, snapshot), degraded=False)
        standing = self._standings.setdefault(tenant.id, Standing(self._replicas))
        monotonic = self._clock.monotonic()
        now_us = standing.now_us(monotonic, self._clock.now())
        rate = tenant.limits.rate
        level = standing.share.level(rate, int(monotonic * 1_000_000)) if rate is not None else 0
        counts = standing.share.left(tenant.limits, now_us)
        limit, in_flight = tenant.limits.concurrency, standing.in_flight
        slots = in_flight if limit is None else standing.share.slots_taken(limit, in_flight)
        estimate = Snapshot(now_us, level, slots, counts)
        return QuotaStatus(describe(tenant.limits, estimate), degraded=True)

    async def aclose(self) -> None:
        """Writes what is owed if the store is there, and closes it. Call when no call is in flight any more."""
        await self._recovery.aclose()
        await self.store.aclose()
