"""The quota store of a single replica: everything in this process, nothing to wait for.

Stands behind `QuotaGate` where `stores.quota` is `memory://`. Its coroutines never suspend, so each question is atomic on
the event loop; a slot needs no lease, since it ends with the process that holds it. Forgets everything with the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gateway.clock import Clock
from gateway.model import Limits
from gateway.quota.account import Account
from gateway.quota.gcra import CALL, level_after, remaining, wait_us
from gateway.quota.store import CONCURRENCY_WAIT_US, Admitted, Charge, Reserved, Snapshot
from gateway.quota.windows import LIMIT_IDS


class MemoryQuotaStore:
    """A `QuotaStore` in this process; never unavailable."""

    waits: ClassVar[bool] = False

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._now = clock.now
        self._accounts: dict[str, Account] = {}

    def _account(self, tenant: str, limits: Limits) -> Account:
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account()
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
        if reservation in account.reservations or reservation in account.refunded:
            rooms = [max(0, limit - count.used) for _, count, limit in account.look(now)]
            return Reserved("", 0, min(rooms, default=None))
        if not account.begun_by <= now < account.next_end:
            if (refused := _refusal(account, now)) is not None:
                return refused
            account.roll(now)
        least: int | None = None
        half_used = False
        for counter, limit in plan:
            left = limit - counter.count
            half_used |= left <= counter.count + 2  # after this call
            if left <= 0 and (refused := _refusal(account, now)) is not None:
                return refused
            if least is None or left < least:
                least = left
        for counter, _ in plan:
            counter.count += 1
        account.reservations[reservation] = account.charged
        if half_used:
            return _granted_late(account, now)
        return Reserved("", 0, least - 1 if least is not None else None)

    async def look(self, tenant: str, limits: Limits, budget_seconds: float) -> Snapshot:
        """See `QuotaStore.look`."""
        account = self._account(tenant, limits)
        now = int(self._now() * 1_000_000)
        level = 0
        if account.flow is not None:
            elapsed = int(self._monotonic() * 1_000_000) - account.level_at
            level = level_after(account.level, elapsed, account.flow)
        counts = {window: count for window, count, _ in account.look(now)}
        return Snapshot(now, level, len(account.slots), counts)

    def hold(self, tenant: str, call: str) -> None:
        """See `QuotaStore.hold`."""
        self._accounts.setdefault(tenant, Account()).slots.add(call)

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
        account = self._accounts.setdefault(tenant, Account())
        for counter, end_us in account.reservations.pop(reservation, ()):
            if counter.end_us == end_us and counter.count > 0:
                counter.count -= 1
        account.forget(reservation)

    async def charge(self, tenant: str, charges: Sequence[Charge], budget_seconds: float) -> None:
        """See `QuotaStore.charge`."""
        account = self._accounts.setdefault(tenant, Account())
        now = int(self._now() * 1_000_000)
        for one in charges:
            if one.reservation in account.reservations or one.reservation in account.refunded:
                continue
            charged = []
            for window, end_us in one.ends.items():
                counter = account.counters[window]
                counter.count, counter.end_us = counter.at(now)
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


def _granted_late(account: Account, now_us: int) -> Reserved:
    """The verdict on a call that was granted, with the counts: they are shown of quotas that are used by half."""
    seen = tuple(account.look(now_us))
    left = min(limit - count.used for _, count, limit in seen)
    return Reserved("", 0, left, now_us, tuple(count for _, count, _ in seen))


def _refusal(account: Account, now_us: int) -> Reserved | None:
    """Names the used-up window that ends last, so that the caller is told a time at which all have room."""
    refused, last = None, now_us
    for window, (used, end_us), limit in account.look(now_us):
        if used >= limit and end_us > last:
            refused, last = window, end_us
    if refused is None:
        return None
    return Reserved(LIMIT_IDS[refused], last - now_us, 0, now_us, tuple(count for _, count, _ in account.look(now_us)))
