"""Tokens that were verified a moment ago, so that a caller's next call costs no signature check.

Keyed by the token's digest: the tokens themselves are not kept. Holds verified ones only, so whoever has no key cannot
displace an entry.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway.clock import Clock
from gateway.model import Principal

REMEMBER_SECONDS = 60.0
CAPACITY = 4096


class RememberedTokens:
    """Principals by token digest, each until its token's `exp` or for 60 s, least recently used out."""

    def __init__(self, *, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._entries: OrderedDict[bytes, tuple[Principal, float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Entries, dead ones included."""
        return len(self._entries)

    def get(self, digest: bytes) -> Principal | None:
        """The principal, if its token is still remembered."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        principal, expires_at, until = entry
        if self._clock.now() >= expires_at or self._clock.monotonic() >= until:
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return principal

    def put(self, digest: bytes, principal: Principal, expires_at: float) -> None:
        """Remembers a token that expires at `expires_at`, in seconds since 1970."""
        self._entries[digest] = (principal, expires_at, self._clock.monotonic() + REMEMBER_SECONDS)
        self._entries.move_to_end(digest)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forgets all."""
        self._entries.clear()
