"""The quota store of a single replica: everything in this process, nothing to wait for.

Stands behind `QuotaGate` where `stores.quota` is `memory://`. Its coroutines never suspend, so each question is atomic on
the event loop; a slot needs no lease, since it ends with the process that holds it. Forgets everything with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gateway.clock import Clock
from gateway.model import Limits, Window
from gateway.quota.gcra import CALL, Flow, flow_of, level_after, remaining, wait_us
from gateway.quota.store import CONCURRENCY_WAIT_US, Admitted, Charge, Count, Reserved, Snapshot
from gateway.quota.windows import LIMIT_IDS, longest, true_end, window_end

_TOMBSTONES = 1024


class _Counter:
    """One window's count. `end_us` 0: never used."""

    __slots__ = ("count", "end_us", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.count = 0
        self.end_us = 0

    def roll(self, now_us: int) -> None:
        """Opens a new window if this one is over."""
        if now_us >= self.end_us:
            self.count, self.end_us = 0, window_end(self.window, now_us)
        else:
            self.end_us = true_end(self.window, self.end_us, now_us)


_Charged = tuple[tuple[_Counter, int], ...]


class _Account:
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
        self.plan: list[tuple[_Counter, int]] = []
        self.counters = {window: _Counter(window) for window in Window}
        self.charged: _Charged = ()
        self.next_end = 0
        """When the first of the windows in use ends."""
        self.begun_by = 0
        """Before this moment a window in use would be longer than any: the clock was ahead when it was opened."""
        self.level = 0
        self.level_at = 0
        self.slots: set[str] = set()
        self.reservations: dict[str, _Charged] = {}
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
            counter.roll(now_us)
        self.charged = tuple((counter, counter.end_us) for counter, _ in self.plan)
        self.next_end = min((counter.end_us for counter, _ in self.plan), default=0)
        self.begun_by = max((counter.end_us - longest(counter.window) for counter, _ in self.plan), default=0)

    def forget(self, reservation: str) -> None:
        """Remembers that an id must not be charged any more."""
        self.refunded[reservation] = None
        if len(self.refunded) > _TOMBSTONES:
            del self.refunded[next(iter(self.refunded))]


class MemoryQuotaStore:
    """A `QuotaStore` in this process; never unavailable."""

    waits: ClassVar[bool] = False

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._now = clock.now
        self._accounts: dict[str, _Account] = {}

    def _account(self, tenant: str, limits: Limits) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account()
        if account.limits is not limits:
            account.adopt(limits, int(self._monotonic() * 1_000_000))
        return account

    async def start(self) -> None:
        """Nothing to connect to."""

    async def admit(self, tenant: str, limits: Limits, call: str, budget_seconds: float) -> Admitted:
        """See `QuotaStore.admit`."""
        account = self._accounts.get(tenant)
        if account is None or account.limits is not limits:
            account = self._account(tenant, limits)
        slots = account.slots
        flow = account.flow
        if call in slots:
            return Admitted("", 0, None if flow is None else remaining(account.level, flow))
        left: int | None = None
        level = now = 0
        if flow is not None:
            now = int(self._monotonic() * 1_000_000)
            drain, capacity = flow
            level = account.level - (now - account.level_at) * drain  # `level_after`, without the cost of a call
            level = max(level, 0)
            room = capacity - level - CALL
            if room < 0:
                return Admitted("rate", wait_us(level, flow), 0)
            left = room // CALL
        if limits.concurrency is not None:
            if len(slots) >= limits.concurrency:
                return Admitted("concurrency", CONCURRENCY_WAIT_US, left)
            slots.add(call)
        if flow is not None:
            account.level = level + CALL
            account.level_at = now
        return Admitted("", 0, left)

    async def reserve(self, tenant: str, limits: Limits, reservation: str, budget_seconds: float) -> Reserved:
        """See `QuotaStore.reserve`."""
        account = self._accounts.get(tenant)
        if account is None or account.limits is not limits:
            account = self._account(tenant, limits)
        now = int(self._now() * 1_000_000)
        plan = account.plan
        if not account.begun_by <= now < account.next_end:
            account.roll(now)
        if reservation in account.reservations or reservation in account.refunded:
            return Reserved("", 0, _least(plan))
        least: int | None = None
        for counter, limit in plan:
            left = limit - counter.count
            if left <= 0:
                return _refusal(plan, now)
            if least is None or left < least:
                least = left
        for counter, _ in plan:
            counter.count += 1
        account.reservations[reservation] = account.charged
        return Reserved("", 0, least - 1 if least is not None else None)

    async def look(self, tenant: str, limits: Limits, budget_seconds: float) -> Snapshot:
        """See `QuotaStore.look`."""
        account = self._account(tenant, limits)
        now = int(self._now() * 1_000_000)
        account.roll(now)
        level = 0
        if account.flow is not None:
            elapsed = int(self._monotonic() * 1_000_000) - account.level_at
            level = level_after(account.level, elapsed, account.flow)
        counts = {counter.window: Count(counter.count, counter.end_us) for counter, _ in account.plan}
        return Snapshot(now, level, len(account.slots), counts)

    def hold(self, tenant: str, call: str) -> None:
        """See `QuotaStore.hold`."""
        self._accounts.setdefault(tenant, _Account()).slots.add(call)

    def release(self, tenant: str, call: str) -> None:
        """See `QuotaStore.release`."""
        account = self._accounts.get(tenant)
        if account is not None:
            account.slots.discard(call)

    def settle(self, tenant: str, reservation: str) -> None:
        """See `QuotaStore.settle`."""
        account = self._accounts.get(tenant)
        if account is not None:
            account.reservations.pop(reservation, None)

    def refund(self, tenant: str, reservation: str) -> None:
        """See `QuotaStore.refund`."""
        account = self._accounts.setdefault(tenant, _Account())
        for counter, end_us in account.reservations.pop(reservation, ()):
            if counter.end_us == end_us and counter.count > 0:
                counter.count -= 1
        account.forget(reservation)

    async def charge(self, tenant: str, charges: Sequence[Charge], budget_seconds: float) -> None:
        """See `QuotaStore.charge`."""
        account = self._accounts.setdefault(tenant, _Account())
        now = int(self._now() * 1_000_000)
        for one in charges:
            if one.reservation in account.reservations or one.reservation in account.refunded:
                continue
            charged = []
            for window, end_us in one.ends.items():
                counter = account.counters[window]
                counter.roll(now)
                account.next_end = 0
                if end_us >= counter.end_us:
                    counter.count += 1
                    charged.append((counter, counter.end_us))
            account.reservations[one.reservation] = tuple(charged)

    async def probe(self, budget_seconds: float) -> None:
        """Always there."""

    async def recover(self, budget_seconds: float) -> None:
        """Nothing can have been lost."""

    async def aclose(self) -> None:
        """Nothing to close."""


def _refusal(plan: list[tuple[_Counter, int]], now_us: int) -> Reserved:
    """Names the used-up window that ends last, so that the caller is told a time at which all have room."""
    last = max((counter for counter, limit in plan if counter.count >= limit), key=lambda counter: counter.end_us)
    return Reserved(LIMIT_IDS[last.window], last.end_us - now_us, 0)


def _least(plan: list[tuple[_Counter, int]]) -> int | None:
    return min((max(0, limit - counter.count) for counter, limit in plan), default=None)
