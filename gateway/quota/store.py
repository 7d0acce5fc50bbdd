"""What the quota gate needs of a store: two atomic questions, and the means to take back, write back and look.

Times and durations are whole microseconds, except budgets. Ids of calls and reservations are unique over all replicas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

from gateway.model import Limits, Window

SLOT_LEASE_US = 12_000_000
"""How long a concurrency slot lives without being renewed: a killed replica's slots are free within 15 s."""

STORE_BUDGET_SECONDS = 0.05
"""How long one call may wait for the store, in all."""

CONCURRENCY_WAIT_US = 100_000
"""What a caller is told to wait for a slot: nobody knows when a call in flight ends."""


class OutageCause(StrEnum):
    """Why the store gave no verdict."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    REFUSED = "refused"
    MALFORMED = "malformed"
    """It answered with what no store of this kind sends."""


class StoreUnavailable(Exception):
    """The store gave no verdict. The question may have been charged all the same.

    `waited_seconds` is how long it was waited for, as far as that is known.
    """

    def __init__(self, cause: OutageCause, waited_seconds: float = 0.0) -> None:
        self.cause = cause
        self.waited_seconds = waited_seconds
        super().__init__(cause.value)


class Admitted(NamedTuple):
    """The verdict on a call. `limit_id` is the limit that refused, "" if none did; `wait_us` until it can admit.

    A rate's wait is final: no call is admitted before. `remaining` counts calls of the rate, None if it is unlimited.
    `spent_seconds` is how long the store took.
    """

    limit_id: str
    wait_us: int
    remaining: int | None
    spent_seconds: float = 0.0


class Count(NamedTuple):
    """What was counted in the window that ends at `end_us`."""

    used: int
    end_us: int


class Reserved(NamedTuple):
    """The verdict on an upstream call: as `Admitted`; `remaining` is the least that any window has left.

    `now_us` is the store's time and `counts` its counts after the verdict, in the order of the tenant's limits: what a
    replica needs to go on alone. A store that is never out leaves them empty while less than half of each window is used.
    """

    limit_id: str
    wait_us: int
    remaining: int | None
    now_us: int = 0
    counts: tuple[Count, ...] = ()


class Charge(NamedTuple):
    """An upstream call that was admitted without the store: its id and the ends of the windows it falls in."""

    reservation: str
    ends: Mapping[Window, int]


class Snapshot(NamedTuple):
    """A tenant's state at `now_us`: the level of its rate (see `gcra`), slots in use, counts of its windows."""

    now_us: int
    level: int
    slots: int
    counts: Mapping[Window, Count]


class QuotaStore(Protocol):
    """Keeps what every tenant has used, exactly, for all replicas that share it.

    The caller's duty: a fresh id for every call and reservation; `release` for every admitted call and `settle` or
    `refund` for every reservation, once, in the end; after an asking method raised or was cancelled, `release`,
    `refund`, `hold` or `charge` by the same id, since the question may have been answered and its reply lost.

    In an outage every async method raises `StoreUnavailable` within its budget; it never retries what may have been
    charged under another id. The others never raise and never wait: what they say takes effect at once, or with the
    tenant's next question, or within 5 ms; in an outage, after it.
    """

    waits: ClassVar[bool]
    """Whether questions are answered from beyond this process. If not, its coroutines never suspend."""

    async def start(self) -> None:
        """Makes the connections that questions will need. Raises `StoreUnavailable` if the store is out."""
        ...

    async def admit(self, tenant: str, limits: Limits, call: str, budget_seconds: float) -> Admitted:
        """Checks rate and concurrency, then charges both or none. The same `call` again gets the first verdict."""
        ...

    async def reserve(self, tenant: str, limits: Limits, reservation: str, budget_seconds: float) -> Reserved:
        """Checks every window of upstream calls, then charges all or none. As `admit` for the same id again."""
        ...

    async def look(self, tenant: str, limits: Limits, budget_seconds: float) -> Snapshot:
        """What the tenant has used, to the moment; consumes nothing."""
        ...

    def hold(self, tenant: str, call: str) -> None:
        """Counts a call that was admitted without the store as in flight, once the store is back."""
        ...

    def release(self, tenant: str, call: str) -> None:
        """Frees the slot of a call; unknown calls are ignored."""
        ...

    def settle(self, tenant: str, reservation: str) -> None:
        """Ends a reservation: it stays charged for good."""
        ...

    def refund(self, tenant: str, reservation: str) -> None:
        """Takes a reservation's charge back, once; one that the store does not know (yet) will not be charged."""
        ...

    async def charge(self, tenant: str, charges: Sequence[Charge], budget_seconds: float) -> None:
        """Charges by id, whatever the limits, what was not yet charged or refunded; windows that are over are left.

        In one step, so some hundreds at once at most.
        """
        ...

    async def probe(self, budget_seconds: float) -> None:
        """Answers if the store does, in time. Raises `StoreUnavailable`."""
        ...

    async def recover(self, budget_seconds: float) -> None:
        """After an outage: connects again, and tells a store that lost its memory the slots and counts known here.

        `budget_seconds` is for each tenant's step.
        """
        ...

    async def aclose(self) -> None:
        """Writes what waits, within a second, and closes the connections."""
        ...
