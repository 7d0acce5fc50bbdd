"""One replica's share of a tenant's limits: what it may admit while the store is out.

Rate and concurrency are the limit divided by the replicas; of a window, the share of what was left when the replica last
looked. So N replicas together keep to the limits, if there are no more of them than `replicas`. Kept by `gate.py`; pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Limits, RateLimit, Window
from gateway.quota.gcra import CALL, level_after, share_of, wait_us
from gateway.quota.store import Count
from gateway.quota.windows import LIMIT_IDS, window_end


class _Allowance:
    """What may still be spent until `end_us`."""

    __slots__ = ("end_us", "left")

    def __init__(self, left: int, end_us: int) -> None:
        self.left = left
        self.end_us = end_us


class TenantShare:
    """One tenant's share. Times are whole microseconds."""

    __slots__ = ("_allowances", "_level", "_level_at", "_replicas")

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._level = 0
        self._level_at = 0
        self._allowances: dict[Window, _Allowance] = {}

    def looked(self, limits: Limits, counts: tuple[Count, ...]) -> None:
        """Renews the share by what the store counts, in the order of `limits`."""
        for (window, limit), (used, end_us) in zip(limits.upstream_calls.items(), counts, strict=True):
            left = max(0, limit - used) // self._replicas
            allowance = self._allowances.get(window)
            if allowance is None:
                self._allowances[window] = _Allowance(left, end_us)
            else:
                allowance.left, allowance.end_us = left, end_us

    def wait_for_rate_us(self, rate: RateLimit, monotonic_us: int) -> int:
        """Spends one call of the rate and gives 0, or spends none and gives the time until one fits."""
        flow = share_of(rate, self._replicas)
        level = level_after(self._level, monotonic_us - self._level_at, flow)
        wait = wait_us(level, flow)
        if not wait:
            self._level, self._level_at = level + CALL, monotonic_us
        return wait

    def slots(self, concurrency: int) -> int:
        """Calls at once."""
        return concurrency // self._replicas

    def spend(self, limits: Limits, now_us: int, *, beyond: bool = False) -> tuple[str, int, Mapping[Window, int]]:
        """Spends one upstream call of every window, or none; `beyond` the share too, if it must not refuse.

        Gives the id of the limit that refused and the wait, or "", 0 and the ends of the windows that were charged.
        """
        refused, wait = "", 0
        for window, limit in limits.upstream_calls.items():
            allowance = self._allowance(window, limit, now_us)
            if allowance.left <= 0 and allowance.end_us - now_us > wait:
                refused, wait = LIMIT_IDS[window], allowance.end_us - now_us
        if refused and not beyond:
            return refused, wait, {}
        ends: dict[Window, int] = {}
        for window in limits.upstream_calls:
            allowance = self._allowances[window]
            allowance.left -= 1
            ends[window] = allowance.end_us
        return "", 0, ends

    def give_back(self, ends: Mapping[Window, int]) -> None:
        """Takes a spent call back."""
        for window, end_us in ends.items():
            allowance = self._allowances.get(window)
            if allowance is not None and allowance.end_us == end_us:
                allowance.left += 1

    def left(self, limits: Limits, now_us: int) -> Mapping[Window, Count]:
        """For each window what this replica would refuse to spend, as if it were used, and its end."""
        counts = {}
        for window, limit in limits.upstream_calls.items():
            allowance = self._allowance(window, limit, now_us)
            counts[window] = Count(limit - max(0, allowance.left), allowance.end_us)
        return counts

    def _allowance(self, window: Window, limit: int, now_us: int) -> _Allowance:
        """A window that began since the store was last seen, or that was never seen, has its whole limit to share."""
        allowance = self._allowances.get(window)
        if allowance is None:
            allowance = self._allowances[window] = _Allowance(limit // self._replicas, window_end(window, now_us))
        elif now_us >= allowance.end_us:
            allowance.left, allowance.end_us = limit // self._replicas, window_end(window, now_us)
        return allowance

    def level(self, rate: RateLimit, monotonic_us: int) -> int:
        """The level of the share of the rate."""
        return level_after(self._level, monotonic_us - self._level_at, share_of(rate, self._replicas))
