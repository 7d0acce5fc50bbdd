"""Tokens whose signature was wrong, so that the same one is refused again without a signature check.

A caller repeats a token for a few bytes, since HTTP/2 compresses headers that it has seen. Keyed by the token's digest.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway.clock import Clock

REMEMBER_SECONDS = 60.0
CAPACITY = 4096


class ForgedTokens:
    """Digests of tokens whose signature was wrong, each for 60 s; the oldest makes room."""

    def __init__(self, *, clock: Clock, capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._capacity = capacity
        self._until: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """Tokens that are remembered."""
        return len(self._until)

    def __contains__(self, digest: bytes) -> bool:
        until = self._until.get(digest)
        return until is not None and self._clock.monotonic() < until

    def add(self, digest: bytes) -> None:
        """Remembers a forged token."""
        self._until[digest] = self._clock.monotonic() + REMEMBER_SECONDS
        self._until.move_to_end(digest)
        if len(self._until) > self._capacity:
            self._until.popitem(last=False)

    def clear(self) -> None:
        """Forgets all: with other keys another signature is right."""
        self._until.clear()
