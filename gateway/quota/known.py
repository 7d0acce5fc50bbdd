"""What one replica knows of one tenant's state in the shared store, and what it still has to write to it.

Kept by `valkey.py`. Bounded: in a long outage the oldest notices are dropped, and the store's leases and lifetimes do their
work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.model import Limits
from gateway.quota.answers import WindowTerms
from gateway.quota.store import Count
from gateway.quota.terms import Terms

_BATCH = 200
_MOST = 20_000


class Notices(NamedTuple):
    """One batch of what is over or goes on: slots to free, to take and to renew, reservations to settle and to refund."""

    freed: list[str]
    taken: list[str]
    renewed: list[str]
    settled: list[str]
    refunded: list[str]


class Known:
    """One tenant. `key` begins all its keys; `born` is the mark of the state that was last seen, "" before the first."""

    __slots__ = (
        "_terms",
        "born",
        "freed",
        "held",
        "key",
        "refunded",
        "renewed",
        "seen",
        "settled",
        "slots_key",
        "state_key",
        "taken",
    )

    def __init__(self, key: str = "") -> None:
        self._terms = Terms(Limits())
        self.key = key
        self.state_key = key + "state"
        self.slots_key = key + "slots"
        self.born = ""
        self.held: dict[str, None] = {}
        self.seen: dict[str, Count] = {}
        self.freed: list[str] = []
        self.taken: list[str] = []
        self.renewed: list[str] = []
        self.settled: list[str] = []
        self.refunded: list[str] = []

    def record_key(self, reservation: str) -> str:
        """The key of a reservation's record."""
        return f"{self.key}reservation:{reservation}"

    def terms(self, limits: Limits) -> Terms:
        """The limits in the scripts' words; they are the same for almost every call."""
        if self._terms.limits is not limits:
            self._terms = Terms(limits)
        return self._terms

    def saw(self, windows: Sequence[WindowTerms], counts: Sequence[Count]) -> None:
        """Keeps the highest count of each window, to say it again to a store that forgot.

        The window is the one that the store named last: after its clock was ahead that may be an earlier one.
        """
        for (_, name, _, _), count in zip(windows, counts, strict=True):
            before = self.seen.get(name)
            if before is None or count[1] != before[1] or count[0] > before[0]:
                self.seen[name] = count

    def release(self, call: str) -> None:
        """The slot is to be freed; what waits to be told of it must not bring it back."""
        self.held.pop(call, None)
        for waiting in (self.taken, self.renewed):
            if call in waiting:
                waiting.remove(call)
        _note(self.freed, call)

    def settle(self, reservation: str) -> None:
        """The reservation is to be settled."""
        _note(self.settled, reservation)

    def refund(self, reservation: str) -> None:
        """The reservation is to be refunded."""
        _note(self.refunded, reservation)

    def hold_again(self) -> None:
        """Every slot is to be taken again: the store may have dropped some while its clock was ahead."""
        self.taken = list(self.held)

    @property
    def waiting(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.freed or self.taken or self.renewed or self.settled or self.refunded)

    def take_freed(self) -> list[str]:
        """Slots to free, for a question to carry along."""
        if not self.freed:
            return []
        taken, self.freed = self.freed[:_BATCH], self.freed[_BATCH:]
        return taken

    def take(self) -> Notices:
        """The next batch of everything."""
        slots = (self.take_freed(), self.taken[:_BATCH], self.renewed[:_BATCH])
        notices = Notices(*slots, self.settled[:_BATCH], self.refunded[:_BATCH])
        del self.taken[:_BATCH], self.renewed[:_BATCH], self.settled[:_BATCH], self.refunded[:_BATCH]
        return notices

    def put_back(self, notices: Notices) -> None:
        """What could not be told is told again; saying a thing twice does no harm.

        A settlement is not worth it: its record in the store ends by itself.
        """
        self.freed = (notices.freed + self.freed)[-_MOST:]
        self.taken = [call for call in notices.taken if call in self.held] + self.taken
        self.renewed = [call for call in notices.renewed if call in self.held] + self.renewed
        self.refunded = (notices.refunded + self.refunded)[-_MOST:]
        del self.settled[:-_MOST]


def _note(notices: list[str], name: str) -> None:
    notices.append(name)
    if len(notices) > _MOST:
        del notices[: len(notices) - _MOST + _BATCH]
