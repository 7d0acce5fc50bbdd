"""Which tenants have used much of a calendar quota, for a metric that warns before a quota refuses.

Known from the answers that the store gives to searches anyway, so it costs the store nothing. A replica knows of the
tenants that searched through it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from gateway.clock import Clock
from gateway.model import Tenant
from gateway.quota.standing import Standing
from gateway.quota.windows import LIMIT_IDS

FROM_SHARE = 0.5
MAX_SHOWN = 100
# Looking through them takes some 5 us each, on the event loop. Tenants that are near the end have places of their own: a
# thousand others at half of their quotas must not hide them.
_MAX_NEAR, _MAX_HALF = 800, 200


class NearlyUsed:
    """Tenants that have used half of a quota or more. `standings` are the gate's, by tenant id."""

    def __init__(self, standings: Mapping[str, Standing], clock: Clock) -> None:
        self._standings = standings
        self._clock = clock
        self._half: set[str] = set()
        self._near: set[str] = set()

    def note(self, tenant_id: str, used: int) -> None:
        """Remembers a tenant. `used` is 2 if it has used four fifths of a quota, 1 if half of one."""
        noted, room = (self._near, _MAX_NEAR) if used > 1 else (self._half, _MAX_HALF)
        if len(noted) < room:
            noted.add(tenant_id)

    def shares(self, tenant_of: Callable[[str], Tenant | None]) -> dict[tuple[str, str], float]:
        """Used part by tenant and limit, of the `MAX_SHOWN` highest. `tenant_of` gives a tenant as it is configured now.

        Forgets tenants that are below the half again, such as after the end of a window, and those that are gone.
        """
        monotonic, now = self._clock.monotonic(), self._clock.now()
        found: dict[tuple[str, str], float] = {}
        for tenant_id in self._half | self._near:
            tenant = tenant_of(tenant_id)
            shares = {}
            if tenant is not None:
                standing = self._standings[tenant_id]
                used = standing.share.used(standing.now_us(monotonic, now))
                shares = {
                    (tenant_id, LIMIT_IDS[window]): used.get(window, 0) / limit
                    for window, limit in tenant.limits.upstream_calls.items()
                    if used.get(window, 0) >= limit * FROM_SHARE
                    if limit
                }
            if shares:
                found |= shares
            else:
                self._half.discard(tenant_id)
                self._near.discard(tenant_id)
        if len(found) <= MAX_SHOWN:
            return found
        return dict(heapq.nlargest(MAX_SHOWN, found.items(), key=lambda item: item[1]))
