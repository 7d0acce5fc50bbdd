"""Counts places that owners share, so that one owner cannot keep all the others out.

An owner is a tenant, or a connection where nobody is known yet. `size` places go to whoever comes first. A reserve of an
eighth on top goes only to owners that hold few places: each may take up to half of what is left of it. So whoever fills
all places leaves some to everybody else. Pure; the caller gives back what it took.
"""

from __future__ import annotations

RESERVED_SHARE = 8
"""The reserve is this part of the places."""


class Places:
    """`size` places, and a reserve for owners that hold few. Units are the caller's: calls, bytes, streams."""

    __slots__ = ("_held", "_limit", "size", "taken")

    def __init__(self, size: int, *, reserve: int | None = None) -> None:
        """`reserve` defaults to an eighth of `size`, and to one place at least."""
        self.size = size
        self._limit = size + (max(1, size // RESERVED_SHARE) if reserve is None else reserve)
        self._held: dict[str, int] = {}
        self.taken = 0

    @property
    def owners(self) -> int:
        """How many owners hold a place."""
        return len(self._held)

    def held(self, owner: str) -> int:
        """Places that `owner` holds."""
        return self._held.get(owner, 0)

    def has(self, owner: str, amount: int = 1) -> bool:
        """Whether `owner` may take `amount` places now."""
        left = self._limit - self.taken - amount
        if self.taken + amount <= self.size:
            return True
        # Half of what is left, so that the next owner finds some as well.
        return left >= 0 and self._held.get(owner, 0) <= left

    def take(self, owner: str, amount: int = 1) -> None:
        """Takes `amount` places whether they are free or not: ask `has` first."""
        self.taken += amount
        self._held[owner] = self._held.get(owner, 0) + amount

    def give_back(self, owner: str, amount: int = 1) -> None:
        """Returns `amount` places."""
        self.taken -= amount
        left = self._held[owner] - amount
        if left:
            self._held[owner] = left
        else:
            del self._held[owner]
