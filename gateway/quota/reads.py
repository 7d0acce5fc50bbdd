"""A rate for calls that search nothing, such as GetQuota: per tenant, on this replica alone.

They cost no vendor call and do not count against a tenant's limits. But each costs processor time, so nobody may make as
many as he likes. Charged before the work. The algorithm is that of the other rates (`gcra.py`).
"""

from __future__ import annotations

from gateway.clock import Clock
from gateway.model import RateLimit
from gateway.quota.gcra import CALL, flow_of, level_after, wait_us

READS = RateLimit(per_second=100, burst=300)
"""What each tenant has, in calls of weight 1."""

REPORT_WEIGHT = 4
"""A report of usage over 400 days costs about as much as four other calls."""

_SWEEP_TENANTS = 1024


class ReadRate:
    """The levels of all tenants. Bounded: a level that has drained is forgotten."""

    def __init__(self, clock: Clock, rate: RateLimit = READS) -> None:
        self._clock = clock
        self._flow = flow_of(rate)
        self._levels: dict[str, tuple[int, int]] = {}

    def charge(self, tenant: str, weight: int) -> float:
        """Charges one call of `weight`; 0, or the seconds until the rate admits one, and then nothing is charged."""
        now_us = int(self._clock.monotonic() * 1_000_000)
        level, at_us = self._levels.get(tenant, (0, now_us))
        level = level_after(level, now_us - at_us, self._flow)
        wait = wait_us(level, self._flow)
        if wait:
            return wait / 1_000_000
        self._levels[tenant] = (level + weight * CALL, now_us)
        if len(self._levels) >= _SWEEP_TENANTS:
            self._levels = {
                name: (left, at)
                for name, (left, at) in self._levels.items()
                if level_after(left, now_us - at, self._flow)
            }
        return 0.0
