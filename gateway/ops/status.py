"""What the status page shows: the state of the parts, the last minutes, and each tenant's limits. Only what may be shown.

Looking costs the gateway little: answers are kept for two seconds, however many browsers ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from gateway.clock import Clock
from gateway.model import Tenant
from gateway.quota.status import QuotaStatus
from gateway.telemetry.setup import Telemetry

KEPT_SECONDS = 2.0
MAX_TENANTS = 200
_LOOK_SECONDS = 1.0
_AT_ONCE = 8


class StatusReport:
    """Gives the page's data. `limits` tells what a tenant has used and has left (see `QuotaGate.limits`)."""

    def __init__(
        self,
        telemetry: Telemetry,
        tenants: Callable[[], Sequence[Tenant]],
        limits: Callable[[Tenant], Awaitable[QuotaStatus]],
        clock: Clock,
    ) -> None:
        self._telemetry = telemetry
        self._tenants = tenants
        self._limits = limits
        self._clock = clock
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._rows: list[dict[str, Any]] = []

    async def __call__(self) -> dict[str, Any]:
        """The data now, as JSON's types."""
        async with self._looking:
            if self._clock.monotonic() - self._looked_at >= KEPT_SECONDS:
                self._rows = await self._look()
                self._looked_at = self._clock.monotonic()
        observed = self._telemetry.observed
        return {
            "version": self._telemetry.version,
            "time": self._clock.now(),
            "stores": dict(observed.stores()) if observed.stores else {},
            "credentials": dict(observed.credentials()) if observed.credentials else {},
            "calls_in_flight": observed.calls_in_flight() if observed.calls_in_flight else None,
            "upstream_in_flight": observed.upstream_in_flight() if observed.upstream_in_flight else None,
            "cache_bytes": observed.cache_bytes() if observed.cache_bytes else None,
            "cache_entries": observed.cache_entries() if observed.cache_entries else None,
            "moments": [asdict(moment) for moment in self._telemetry.history.moments],
            "tenants": self._rows,
        }

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


def _row(tenant: Tenant, status: QuotaStatus | None) -> dict[str, Any]:
    limits = status.limits if status is not None else ()
    return {
        "id": tenant.id,
        "role": tenant.role.value,
        "degraded": status is None or status.degraded,
        "limits": [{"id": one.id, "limit": one.limit, "used": one.used} for one in limits],
    }
