"""One replica's share of a tenant's limits: what it may admit while the store is out.

Rate and concurrency are the limit divided by the replicas; of a window, the share of what was left when the replica last
looked. So N replicas together keep to the limits, if there are no more of them than `replicas`. Kept by `gate.py`; pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Limits, RateLimit, Window
from gateway.quota.gcra import CALL, Flow, flow_of, level_after, share_of, wait_us
from gateway.quota.store import Count
from gateway.quota.windows import LIMIT_IDS, true_end, window_end


class _Spent:
    """What was spent of the window that ends at `end_us`: by all when the store was last seen, and here since then."""

    __slots__ = ("by_all", "end_us", "here")

    def __init__(self, by_all: int, end_us: int) -> None:
        self.by_all = by_all
        self.here = 0
        self.end_us = end_us


class TenantShare:
    """One tenant's share. Limits are handed in with every question, so that changed ones are in force at once.

    Times are whole microseconds.
    """

    __slots__ = ("_ends", "_level", "_level_at", "_replicas", "_spent")

    def __init__(self, replicas: int) -> None:
        self._replicas = replicas
        self._level = 0
        self._level_at = 0
        self._spent: dict[Window, _Spent] = {}
        self._ends: Mapping[Window, int] = {}

    def looked(self, limits: Limits, counts: tuple[Count, ...]) -> int:
        """Renews the share by what the store counts, in the order of `limits`.

        Gives 2 if four fifths of a quota are used, 1 if half of one is, else 0.
        """
        used_up = 0
        for (window, limit), (used, end_us) in zip(limits.upstream_calls.items(), counts, strict=True):
            if used + used >= limit and used_up < 2:
                used_up = 2 if used * 5 >= limit * 4 else 1
            spent = self._spent.get(window)
            if spent is None:
                self._spent[window] = _Spent(used, end_us)
            else:
                spent.by_all, spent.here, spent.end_us = used, 0, end_us
        return used_up

    def used(self, now_us: int) -> Mapping[Window, int]:
        """Calls of each window that is not over, as far as this replica knows."""
        return {window: one.by_all + one.here for window, one in self._spent.items() if now_us < one.end_us}

    def wait_for_rate_us(self, rate: RateLimit, monotonic_us: int) -> int:
        """Spends one call of the rate and gives 0, or spends none and gives the time until one fits."""
        flow = share_of(rate, self._replicas)
        level = self._drain(flow, monotonic_us)
        wait = wait_us(level, flow)
        if not wait:
            self._level = level + CALL
        return wait

    def _drain(self, flow: Flow, monotonic_us: int) -> int:
        # A lowered limit owes no more than it could have made itself.
        self._level = min(level_after(self._level, monotonic_us - self._level_at, flow), flow.capacity)
        self._level_at = monotonic_us
        return self._level

    def slots(self, concurrency: int) -> int:
        """Calls at once."""
        return concurrency // self._replicas

    def spend(self, limits: Limits, now_us: int, *, beyond: bool = False) -> tuple[str, int, Mapping[Window, int]]:
        """Spends one upstream call of every window, or none; `beyond` the share too, if it must not refuse.

        Gives the id of the limit that refused and the wait, or "", 0 and the ends of the windows that were charged.
        """
        refused, wait = "", 0
        for window, limit in limits.upstream_calls.items():
            spent = self._current(window, now_us)
            if self._left(spent, limit) <= 0 and spent.end_us - now_us > wait:
                refused, wait = LIMIT_IDS[window], spent.end_us - now_us
        if refused and not beyond:
            return refused, wait, {}
        for window in limits.upstream_calls:
            self._spent[window].here += 1
        ends = {window: self._spent[window].end_us for window in limits.upstream_calls}
        if ends != self._ends:
            self._ends = ends  # One mapping for all calls of the same windows: an outage may leave many to write back.
        return "", 0, self._ends

    def give_back(self, ends: Mapping[Window, int]) -> None:
        """Takes a spent call back."""
        for window, end_us in ends.items():
            spent = self._spent.get(window)
            if spent is not None and spent.end_us == end_us and spent.here:
                spent.here -= 1

    def left(self, limits: Limits, now_us: int) -> Mapping[Window, Count]:
        """For each window what this replica would refuse to spend, as if it were used, and its end."""
        counts = {}
        for window, limit in limits.upstream_calls.items():
            spent = self._current(window, now_us)
            counts[window] = Count(limit - max(0, self._left(spent, limit)), spent.end_us)
        return counts

    def _left(self, spent: _Spent, limit: int) -> int:
        return max(0, limit - spent.by_all) // self._replicas - spent.here

    def _current(self, window: Window, now_us: int) -> _Spent:
        """What was spent of the window of now: nothing yet if it began since the store was last seen."""
        spent = self._spent.get(window)
        if spent is None:
            spent = self._spent[window] = _Spent(0, window_end(window, now_us))
        elif now_us >= spent.end_us:
            spent.by_all, spent.here, spent.end_us = 0, 0, window_end(window, now_us)
        else:
            spent.end_us = true_end(window, spent.end_us, now_us)
        return spent

    def level(self, rate: RateLimit, monotonic_us: int) -> int:
        """The level of the whole rate if all replicas spent as this one does; it is drained when the share's is."""
        share = share_of(rate, self._replicas)
        return self._drain(share, monotonic_us) * flow_of(rate).drain // share.drain

    def slots_taken(self, concurrency: int, in_flight: int) -> int:
        """Calls at once that this replica would refuse, as if they were in flight."""
        return max(in_flight, concurrency - max(0, self.slots(concurrency) - in_flight))
