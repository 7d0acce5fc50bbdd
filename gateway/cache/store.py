"""What the result cache needs of a store: records of bytes by name, and epochs.

Two implementations: `memory.py` for one process, `valkey.py` for many. Neither knows tenants' images, what a record
means, or which answer serves which request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from gateway.cache.epochs import EpochView, Scope
from gateway.cache.key import CacheKey


class StoreOut(Exception):
    """The store did not answer in time, or refused. Carries no data and never leaves the cache package."""


class Held(NamedTuple):
    """Records in this process and the memory that they take; stored values that were not what a replica had put there."""

    records: int
    bytes: int
    refused: int


Change = tuple[bytes, float]
"""A new record, and the seconds that it lives."""


class CacheStore(Protocol):
    """Records by key. A record may be gone at any time; it is never another key's.

    In an outage `available` is False, and `fetch`, `update` and `purge` raise `StoreOut` at the latest after the store's
    own time limit; the caller then does without a cache. The store logs its own changes of state.
    """

    epochs: EpochView
    shared: bool
    """Whether there is anything beyond this process."""

    @property
    def available(self) -> bool:
        """Whether answers may be read and kept now: the store answers, and the view of the epochs is fresh."""
        ...

    def time(self) -> float:
        """The time by which the entries of records are dated, in seconds. All who share the store agree on it."""
        ...

    def time_at(self, monotonic: float) -> float:
        """That time at a moment of this process's monotonic clock."""
        ...

    def held(self) -> Held:
        """What is in this process now; never waits."""
        ...

    def peek(self, key: CacheKey) -> bytes | None:
        """The record as far as this process holds it; never waits."""
        ...

    async def fetch(self, key: CacheKey) -> bytes | None:
        """The record from beyond this process; call it when `peek` did not serve and the store is `shared`."""
        ...

    async def update(
        self,
        key: CacheKey,
        change: Callable[[bytes | None], Change | None],
        *,
        asked_at: float,
        waited_seconds: float = 0.0,
    ) -> None:
        """Replaces the record by what `change` makes of it. If `change` returns None, the record stays as it is.

        No update of another replica is lost; `change` may be called more than once. `asked_at` (monotonic) is when the
        question behind the change was asked: other replicas may have kept newer answers since then. `waited_seconds` is
        the time that the search has already waited for the store, which is taken off the limit. An update that takes
        longer goes on without its caller.
        """
        ...

    async def purge(self, scope: Scope) -> int:
        """Raises the scope's epoch and returns it."""
        ...
