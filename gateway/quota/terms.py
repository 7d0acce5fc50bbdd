"""A tenant's limits in the words of the scripts, put together once and not for every call. Pure."""

from __future__ import annotations

from functools import partial

from gateway.model import Limits
from gateway.quota.answers import WindowTerms, read_admission, read_look, read_reservation
from gateway.quota.gcra import flow_of
from gateway.quota.store import SLOT_LEASE_US
from gateway.quota.windows import longest_wait


class Terms:
    """The terms of `limits`. Where a limit is absent the scripts get 0 for a rate, and -1 for concurrency."""

    __slots__ = (
        "admit",
        "flow",
        "limits",
        "look",
        "read_admission",
        "read_look",
        "read_reservation",
        "reserve",
        "windows",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.flow = flow_of(limits.rate) if limits.rate is not None else None
        drain, capacity = self.flow or (0, 0)
        concurrency = -1 if limits.concurrency is None else limits.concurrency
        self.windows = tuple(
            WindowTerms(window, window.value, limit, longest_wait(window))
            for window, limit in limits.upstream_calls.items()
        )
        self.admit = (drain, capacity, concurrency, SLOT_LEASE_US)
        self.reserve = tuple(word for one in self.windows for word in (one.name, one.limit))
        self.look: tuple[str | int, ...] = (drain, capacity, *(one.name for one in self.windows))
        self.read_admission = partial(read_admission, self.flow, limits.concurrency)
        self.read_reservation = partial(read_reservation, self.windows)
        self.read_look = partial(read_look, self.windows)
