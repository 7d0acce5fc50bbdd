"""One answer of the vendor on its way into a record: what the record becomes, and for how long it has to be there.

Given to a store as the `change` of an update, which may call it for several records in turn. Which answers stay together
is decided in `merging.py`; what is decided here is which of them are still in time.
"""

from __future__ import annotations

from gateway.cache import entries
from gateway.cache.entries import Entry, Unpackable
from gateway.cache.merging import is_barrier, merge
from gateway.cache.policy import CachePolicy
from gateway.cache.store import CacheStore, Change
from gateway.model import SearchParameters, UpstreamAnswer

AHEAD_SECONDS = 1.0
"""How far ahead of the store's time an entry may be dated: a little more than a step of that clock that is followed."""


class Landing:
    """One answer on its way into a record."""

    __slots__ = ("_answer", "_asked", "_asked_at", "_policy", "_store", "kept")

    def __init__(
        self, policy: CachePolicy, store: CacheStore, asked: SearchParameters, answer: UpstreamAnswer, asked_at: float
    ) -> None:
        """`asked_at` is the reading of the monotonic clock from just before the question was sent."""
        self._policy = policy
        self._store = store
        self._asked = asked
        self._answer = answer
        self._asked_at = asked_at
        self.kept = False
        """Whether the answer was in the record that the last `change` returned."""

    def change(self, record: bytes | None) -> Change | None:
        """The record with the answer in it, and its lifetime. None if a newer answer leaves it no place."""
        new = Entry(self._store.time_at(self._asked_at), self._asked, self._answer)
        now = self._store.time()
        if record is None:
            self.kept = True
            return entries.pack([new]), self._expires_at(new) - now
        latest = now + AHEAD_SECONDS
        held = [e for e in _readable(record) if e.asked_at <= latest and self._expires_at(e) > now]
        merged = merge(new, held)
        self.kept = merged[0] is new or any(entry is new for entry in merged)
        if not self.kept and merged == held:
            return None
        return entries.pack(merged), max(map(self._expires_at, merged)) - now

    def _expires_at(self, entry: Entry) -> float:
        # Served no longer than its lifetime, and in the way of older answers for as long as any may still be in flight.
        flight_seconds = self._policy.flight_seconds
        if is_barrier(entry):
            return entry.asked_at + flight_seconds
        lifetime_seconds = self._policy.lifetime_seconds(entry.answer.outcome)
        return entry.asked_at + max(flight_seconds, lifetime_seconds)


def _readable(record: bytes | None) -> list[Entry]:
    try:
        return list(entries.unpack(record)) if record is not None else []
    except Unpackable:
        return []
