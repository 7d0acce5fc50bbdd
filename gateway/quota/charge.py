"""What a search costs its tenant, by what was sent to the vendor and by what the vendor bills.

Stands between a reservation and the ledger; `search.py` opens it around the question to the vendor.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from gateway.errors import GatewayError
from gateway.quota.admission import Reservation
from gateway.quota.usage import UsageLedger
from gateway.trip import Trip


class Charge:
    """A `with` block around a search at the vendor. At its end the reservation is settled or refunded.

    A search of which nothing was sent is refunded. One that was sent is settled if it was answered, if its error says
    that the vendor bills it, or if it was cancelled: the vendor may bill what nobody waits for.
    """

    __slots__ = ("_ledger", "_reservation", "_trip")

    def __init__(self, reservation: Reservation, trip: Trip, ledger: UsageLedger) -> None:
        self._reservation = reservation
        self._trip = trip
        self._ledger = ledger

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        trip = self._trip
        if not trip.attempts:
            self._reservation.refund()
            return
        today = self._ledger.today(trip.tenant)
        today.upstream_calls += trip.attempts
        if error is None or _billed(error):
            self._reservation.settle()
            today.charged_units += 1
        else:
            self._reservation.refund()


def _billed(error: BaseException) -> bool:
    return error.billed if isinstance(error, GatewayError) else isinstance(error, asyncio.CancelledError)
