"""Where a tenant stands on this replica: what is refused for certain, what is in flight, and what the store must be told.

Kept by `gate.py`, one a tenant; no I/O.
"""

from __future__ import annotations

from gateway.model import Limits, RateLimit
from gateway.quota.share import TenantShare
from gateway.quota.store import Charge, Reserved


class Standing:
    """One tenant on one replica. `monotonic` and `now` are the replica's clocks, in seconds."""

    __slots__ = ("_offset_us", "in_flight", "owed", "refused_rate", "refused_until", "share")

    def __init__(self, replicas: int) -> None:
        self.share = TenantShare(replicas)
        self.in_flight = 0
        self.owed: dict[str, Charge] = {}
        """Upstream calls that were admitted without the store and are not yet written to it, by reservation."""
        self.refused_rate: RateLimit | None = None
        self.refused_until = 0.0
        self._offset_us: int | None = None

    def refuse_until(self, rate: RateLimit | None, until: float) -> None:
        """Remembers a refusal by the rate. It is final: others can only push the time further out."""
        self.refused_rate = rate
        self.refused_until = until

    def looked(self, limits: Limits, verdict: Reserved, monotonic: float) -> int:
        """The store answered. The share is renewed only once it knows all that was spent here without it.

        How much of a quota is used, as `TenantShare.looked` gives it.
        """
        self._offset_us = verdict.now_us - int(monotonic * 1_000_000)
        return 0 if self.owed else self.share.looked(limits, verdict.counts)

    def now_us(self, monotonic: float, now: float) -> int:
        """The store's time, carried on by this replica's monotonic clock: a wrong wall clock does not matter.

        Before the store was ever seen, the wall clock has to do.
        """
        if self._offset_us is None:
            return int(now * 1_000_000)
        return int(monotonic * 1_000_000) + self._offset_us
