"""What a caller of the gate holds: an admitted call, and an upstream call reserved for it.

Given out by `gate.py`. The call holds its admission, and so does the flight that it starts: what runs at the vendor
counts against the tenant's concurrency, whoever still waits for it.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from gateway.model import Tenant

if TYPE_CHECKING:
    from gateway.quota.gate import QuotaGate
    from gateway.quota.standing import Standing


class Admission:
    """One admitted call. Keeps its concurrency slot until its last holder has ended.

    The call itself is the first holder; it ends by `release`, or with a `with` block, and ending twice does no harm.
    Each `keep` adds a holder, which ends by one `give_back`.

    `degraded` says that the store was out. `remaining` counts calls that the rate has left, None if it is unlimited or
    unknown.
    """

    __slots__ = (
        "_gate",
        "_holders",
        "_released",
        "budget_seconds",
        "degraded",
        "remaining",
        "slot",
        "standing",
        "tenant",
    )

    def __init__(
        self,
        gate: QuotaGate,
        tenant: Tenant,
        standing: Standing,
        slot: str,
        budget_seconds: float,
        remaining: int | None,
        degraded: bool = False,  # noqa: FBT001, FBT002 - made once a call, and keywords cost time
    ) -> None:
        self._gate = gate
        self._holders = 1
        self._released = False
        self.tenant = tenant
        self.standing = standing
        self.slot = slot
        self.budget_seconds = budget_seconds
        """What is left of the time that this call may wait for the store."""
        self.degraded = degraded
        self.remaining = remaining
        standing.in_flight += 1

    def keep(self) -> None:
        """One more holder of the slot: a flight of this call."""
        self._holders += 1

    def give_back(self) -> None:
        """A holder ends. The last one frees the slot: with the tenant's next question to the store, or within 5 ms."""
        self._holders -= 1
        if not self._holders:
            self.standing.in_flight -= 1
            if self.slot:
                self._gate.store.release(self.tenant.id, self.slot)

    def release(self) -> None:
        """The call ends."""
        if not self._released:
            self._released = True
            self.give_back()

    async def reserve(self) -> Reservation:
        """Charges one upstream call to every window, or to none. Raises `TenantQuotaExceeded`, `QuotaUnavailable`."""
        return await self._gate.reserve(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class Reservation:
    """One upstream call, charged. It stays charged unless `refund` is called before `settle`.

    `id` is "" when no window limits the tenant. `remaining` is the least that any window has left, None if unknown.
    """

    __slots__ = ("_ended", "_gate", "degraded", "id", "remaining", "slot", "standing", "tenant")

    def __init__(
        self,
        gate: QuotaGate,
        tenant: Tenant,
        standing: Standing,
        reservation: str,
        remaining: int | None,
        degraded: bool,  # noqa: FBT001 - as above
    ) -> None:
        self._gate = gate
        self._ended = not reservation
        self.id = reservation
        self.tenant = tenant
        self.standing = standing
        self.degraded = degraded
        self.remaining = remaining

    def settle(self) -> None:
        """The call was made: the charge stands. Costs the caller no time."""
        if not self._ended:
            self._ended = True
            # What is still owed is written back later, and needs its record in the store until then.
            if self.id not in self.standing.owed:
                self._gate.store.settle(self.tenant.id, self.id)

    def refund(self) -> None:
        """The vendor did not bill the call: the charge is taken back, within 5 ms. Costs the caller no time."""
        if not self._ended:
            self._ended = True
            owed = self.standing.owed.pop(self.id, None)
            if owed is not None:
                self.standing.share.give_back(owed.ends)
            self._gate.store.refund(self.tenant.id, self.id)
