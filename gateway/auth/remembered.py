"""Tokens whose signature was checked a moment ago, so that a caller's next call costs no signature check.

Keyed by the token's digest: the tokens themselves are not kept. Holds verified ones only, so whoever has no key cannot
displace an entry.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from gateway.auth.jwt import VerifiedJwt
from gateway.clock import Clock
from gateway.model import Principal

REMEMBER_SECONDS = 60.0
CAPACITY = 4096


@dataclass(frozen=True, slots=True)
class _Entry:
    verified: VerifiedJwt
    principal: Principal
    until: float
    keys: int
    registry: int


class RememberedTokens:
    """Verified tokens by digest, each good until its `exp` or for 60 s; the least recently used makes room."""

    def __init__(self, *, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._keys = self._registry = 0

    def __len__(self) -> int:
        """Entries, also those that have to be verified again."""
        return len(self._entries)

    def get(self, digest: bytes) -> Principal | None:
        """The principal, if its token is still remembered and the registry is still the same."""
        entry = self._good(digest)
        return entry.principal if entry is not None and entry.registry == self._registry else None

    def verified(self, digest: bytes) -> VerifiedJwt | None:
        """What the token has proven, if it need not be verified again; for when the registry has changed."""
        entry = self._good(digest)
        return None if entry is None else entry.verified

    def was_good(self, digest: bytes) -> bool:
        """Whether the token was good the last time that it was verified, however long ago."""
        return digest in self._entries

    def put(self, digest: bytes, principal: Principal, verified: VerifiedJwt) -> None:
        """Remembers a token that was just verified."""
        until = self._clock.monotonic() + REMEMBER_SECONDS
        self._entries[digest] = _Entry(verified, principal, until, self._keys, self._registry)
        self._entries.move_to_end(digest)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def moved(self, digest: bytes, principal: Principal) -> None:
        """Notes the token's principal in a new registry; it has to be verified again no later than before."""
        entry = self._entries.get(digest)
        if entry is not None:
            self._entries[digest] = replace(entry, principal=principal, registry=self._registry)

    def discard(self, digest: bytes) -> None:
        """Forgets a token that turned out to be bad."""
        self._entries.pop(digest, None)

    def registry_changed(self) -> None:
        """Has the tenant of every token looked up again."""
        self._registry += 1

    def keys_changed(self) -> None:
        """Has every token verified again."""
        self._keys += 1

    def _good(self, digest: bytes) -> _Entry | None:
        entry = self._entries.get(digest)
        if entry is None or entry.keys != self._keys or self._clock.monotonic() >= entry.until:
            return None
        if self._clock.now() >= entry.verified.expires_at:
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return entry
