"""What the status page shows: the state of the parts, the last minutes, and each tenant's limits. Only what may be shown.

Looking costs the gateway little: answers are kept for two seconds, however many browsers ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.clock import Clock
from gateway.model import Tenant
from gateway.ops.listener import Readiness
from gateway.ops.troubles import Troubles, causes_of
from gateway.quota.status import QuotaStatus
from gateway.telemetry.history import OUTCOMES, Moment, quantile_ms
from gateway.telemetry.setup import Telemetry

KEPT_SECONDS = 2.0
MAX_FAILURES = 30
# Ends that are the caller's own doing, or what its limits are for.
_CALLERS_OWN = frozenset(
    {
        "CREDENTIALS_INVALID",
        "TENANT_NOT_ALLOWED",
        "FACE_SET_NOT_ALLOWED",
        "OPERATION_NOT_ALLOWED",
        "NOT_IMPLEMENTED",
        "INVALID_REQUEST",
        "IMAGE_REJECTED",
        "TENANT_RATE_LIMITED",
        "TENANT_CONCURRENCY_EXCEEDED",
        "TENANT_QUOTA_EXCEEDED",
        "DEADLINE_TOO_SHORT",
        "CACHE_MISS",
        "CANCELLED",
    }
)
MAX_TENANTS = 200
_LOOK_SECONDS = 1.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Replica:
    """Who shows the page: the host's or pod's name, and a digest of the configuration in force."""

    name: str
    config_version: Callable[[], str]


class StatusReport:
    """Gives the page's data. `limits` tells what a tenant has used and has left (see `QuotaGate.limits`)."""

    def __init__(
        self,
        telemetry: Telemetry,
        tenants: Callable[[], Sequence[Tenant]],
        limits: Callable[[Tenant], Awaitable[QuotaStatus]],
        clock: Clock,
        readiness: Callable[[], Readiness],
        replica: Replica,
    ) -> None:
        self._telemetry = telemetry
        self._tenants = tenants
        self._limits = limits
        self._clock = clock
        self._readiness = readiness
        self._replica = replica
        self._started = clock.monotonic()
        self._troubles = Troubles(clock)
        telemetry.on_second(self.tick)
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._rows: list[dict[str, Any]] = []
        # By identity, with the moment itself, so that no other one gets its identity meanwhile.
        self._shown: dict[int, tuple[Moment, dict[str, Any]]] = {}

    def tick(self) -> None:
        """Notices what is wrong, so that the page knows since when. Called once a second."""
        state, stores = self._readiness(), self._telemetry.observed.stores
        minute = self._telemetry.history.last_minute()
        self._troubles.look(causes_of(state.ready, state.problems, stores() if stores else {}, minute))

    async def __call__(self) -> dict[str, Any]:
        """The data now, as JSON's types."""
        async with self._looking:
            if self._clock.monotonic() - self._looked_at >= KEPT_SECONDS:
                self._rows = await self._look()
                self._looked_at = self._clock.monotonic()
        observed, history = self._telemetry.observed, self._telemetry.history
        self.tick()
        return {
            "replica": self._replica.name,
            "config_version": self._replica.config_version()[:12],
            "uptime_seconds": round(self._clock.monotonic() - self._started),
            "troubles": self._troubles.rows(),
            "minute": _moment(history.last_minute()),
            "failures": _failures(history.ends),
            "version": self._telemetry.version,
            "time": self._clock.now(),
            "stores": dict(observed.stores()) if observed.stores else {},
            "credentials": dict(observed.credentials()) if observed.credentials else {},
            "calls_in_flight": observed.calls_in_flight() if observed.calls_in_flight else None,
            "upstream_in_flight": observed.upstream_in_flight() if observed.upstream_in_flight else None,
            "cache_bytes": observed.cache_bytes() if observed.cache_bytes else None,
            "cache_entries": observed.cache_entries() if observed.cache_entries else None,
            "moments": self._moments(),
            "tenants": self._rows,
        }

    def _moments(self) -> list[dict[str, Any]]:
        # Each is worked out once: all 120 take some 3 ms, and a page is asked for again and again.
        before = self._shown
        self._shown = {
            id(moment): before.get(id(moment)) or (moment, _moment(moment))
            for moment in self._telemetry.history.moments
        }
        return [shown for _, shown in self._shown.values()]

    async def _look(self) -> list[dict[str, Any]]:
        tenants = list(self._tenants())[:MAX_TENANTS]
        if not tenants:
            return []
        turns = asyncio.Semaphore(_AT_ONCE)
        found: dict[str, QuotaStatus] = {}

        async def look(tenant: Tenant) -> None:
            async with turns:
                found[tenant.id] = await self._limits(tenant)

        _, late = await asyncio.wait([asyncio.create_task(look(tenant)) for tenant in tenants], timeout=_LOOK_SECONDS)
        for task in late:
            task.cancel()
        return [_row(tenant, found.get(tenant.id)) for tenant in tenants]


def _moment(moment: Moment) -> dict[str, Any]:
    counts = {name: getattr(moment, name) for name in _SHOWN}
    latency = {
        outcome: [quantile_ms(moment.latency[outcome], share) for share in (0.5, 0.99)]
        for outcome in OUTCOMES
        if any(moment.latency[outcome])
    }
    return {**counts, "latency": latency}


_SHOWN = ("seconds", "calls", "refused", "failed", "hits", "searched", "asked", "unanswered")


def _failures(ends: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Of the last ten minutes, the most frequent first; those that are no caller's doing before all others."""
    rows = sorted((reason in _CALLERS_OWN, -count, tenant, reason) for (tenant, reason), count in ends.items())
    return [
        {"tenant": tenant, "reason": reason, "count": -count, "level": "warn" if own else "bad"}
        for own, count, tenant, reason in rows[:MAX_FAILURES]
    ]


def _row(tenant: Tenant, status: QuotaStatus | None) -> dict[str, Any]:
    limits = status.limits if status is not None else ()
    return {
        "id": tenant.id,
        "role": tenant.role.value,
        "degraded": status is None or status.degraded,
        "limits": [{"id": one.id, "limit": one.limit, "used": one.used} for one in limits],
    }
