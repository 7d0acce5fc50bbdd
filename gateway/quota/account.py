"""What one tenant has used, in this process: its rate's level, its slots, its windows. Kept by `memory.py`; pure."""

from __future__ import annotations

from gateway.model import Limits, Window
from gateway.quota.gcra import Flow, flow_of, level_after
from gateway.quota.store import Count
from gateway.quota.windows import longest, true_end, window_end

_TOMBSTONES = 1024


class Counter:
    """One window's count. `end_us` 0: never used."""

    __slots__ = ("count", "end_us", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.count = 0
        self.end_us = 0

    def at(self, now_us: int) -> Count:
        """What the window of `now_us` counts. Changes nothing."""
        if now_us >= self.end_us:
            return Count(0, window_end(self.window, now_us))
        return Count(self.count, true_end(self.window, self.end_us, now_us))


Charged = tuple[tuple[Counter, int], ...]


class Account:
    """What one tenant has used."""

    __slots__ = (
        "begun_by",
        "charged",
        "counters",
        "flow",
        "level",
        "level_at",
        "limits",
        "next_end",
        "plan",
        "refunded",
        "reservations",
        "slots",
    )

    def __init__(self) -> None:
        self.limits: Limits | None = None
        self.flow: Flow | None = None
        self.plan: list[tuple[Counter, int]] = []
        self.counters = {window: Counter(window) for window in Window}
        self.charged: Charged = ()
        self.next_end = 0
        """When the first of the windows in use ends."""
        self.begun_by = 0
        """Before this moment a window in use would be longer than any: the clock was ahead when it was opened."""
        self.level = 0
        self.level_at = 0
        self.slots: set[str] = set()
        self.reservations: dict[str, Charged] = {}
        self.refunded: dict[str, None] = {}

    def adopt(self, limits: Limits, monotonic_us: int) -> None:
        """Limits change while running; the plan saves looking enum keys up on every call.

        Of a rate's debt no more is kept than the new limit could have made.
        """
        if self.flow is not None:
            self.level = level_after(self.level, monotonic_us - self.level_at, self.flow)
            self.level_at = monotonic_us
        self.limits = limits
        self.flow = flow_of(limits.rate) if limits.rate is not None else None
        if self.flow is not None:
            self.level = min(self.level, self.flow.capacity)
        self.plan = [(self.counters[window], limit) for window, limit in limits.upstream_calls.items()]
        self.next_end = 0

    def roll(self, now_us: int) -> None:
        """Opens new windows where the old ones are over; see `true_end` for a clock that went back."""
        for counter, _ in self.plan:
            counter.count, counter.end_us = counter.at(now_us)
        self.charged = tuple((counter, counter.end_us) for counter, _ in self.plan)
        self.next_end = min((counter.end_us for counter, _ in self.plan), default=0)
        self.begun_by = max((counter.end_us - longest(counter.window) for counter, _ in self.plan), default=0)

    def look(self, now_us: int) -> list[tuple[Window, Count, int]]:
        """Window, count and limit of each. Opens none: a clock that is ahead for a moment must not end one by a look.

        What a clock that was ahead had opened is put right, so that it ends when it was said to.
        """
        found = []
        for counter, limit in self.plan:
            count = counter.at(now_us)
            if now_us < counter.end_us != count.end_us:
                counter.end_us = count.end_us
                self.next_end = 0
            found.append((counter.window, count, limit))
        return found

    def forget(self, reservation: str) -> None:
        """Remembers that an id must not be charged any more."""
        self.refunded[reservation] = None
        if len(self.refunded) > _TOMBSTONES:
            del self.refunded[next(iter(self.refunded))]
