"""A search on its way to the vendor, as a value: its flight owns it, the layers toward the vendor read and write it.

Without it "was it sent?", "does anybody still wait?" and "whose is it?" would have to be guessed from an exception's
class. Imports nothing but errors, since the cache, the quota and the upstream all share it.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import Cancelled


def ignore() -> None:
    """Does nothing when a trip is abandoned."""


class Trip:
    """One search on its way to the vendor. All moments are monotonic seconds.

    `deadline` is the latest moment until which a caller waits; it grows when a caller joins. `asked_at` is when the
    search set out: its answer is at least that new. `ends_at` is when the upstream's own time limit ends the search.
    `attempts` counts the requests that left for the vendor, so 0 means that the vendor was never asked. `on_abandoned`
    is called when the last caller leaves; a queue sets it to drop a search that nobody waits for.
    """

    __slots__ = ("asked_at", "attempts", "callers", "deadline", "ends_at", "on_abandoned", "tenant")

    def __init__(self, tenant: str, asked_at: float) -> None:
        self.tenant = tenant
        self.asked_at = asked_at
        self.deadline = asked_at
        self.ends_at = float("inf")
        self.attempts = 0
        self.callers = 0
        self.on_abandoned: Callable[[], None] = ignore

    @property
    def wanted(self) -> bool:
        """Whether a caller still waits for the answer."""
        return self.callers > 0

    def join(self, deadline: float) -> None:
        """A caller waits from now on, at most until `deadline`."""
        self.callers += 1
        self.deadline = max(self.deadline, deadline)

    def leave(self) -> None:
        """A caller waits no longer."""
        self.callers -= 1
        if not self.callers:
            self.on_abandoned()

    def require_wanted(self) -> None:
        """Raises `Cancelled` if nobody waits any more. Call it before anything that costs."""
        if not self.callers:
            raise Cancelled

    def sending(self) -> None:
        """Counts a request. Call it right before its first byte is written. Raises `Cancelled` if nobody waits."""
        self.require_wanted()
        self.attempts += 1
