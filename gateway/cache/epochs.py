"""Epochs: a number to each scope, which a purge raises; names made under a lower number are dead.

A scope is everything, a tenant, or a face set of a tenant; a cache key binds the epochs of all three. So a purge costs
the same however much it kills, and a search in flight, which keeps the key it began with, cannot store under the new
epoch. `EpochView` is what one process knows; the shared store holds the truth.

**Where a store loses its memory** its epochs go backwards, and an answer from before a purge could count again. So an
epoch is never lower than the store's time in milliseconds when it was raised, `all` is always present (its absence is a
loss of memory), and a process that sees any epoch lower than it knew reports it: `all` is then raised again, above
everything known, which no earlier name binds.

**An epoch far ahead of the store's time** was written by somebody else, or while the store's clock was wrong. Counting
on from it would reach the end of the range, where no purge is possible any more. So more than a day ahead is not
trusted: the store's script replaces it, and what a process knew beyond that limit it forgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from blake3 import blake3


class Epochs(NamedTuple):
    """The epochs that a key binds; 0 for a scope that was never purged."""

    everything: int
    tenant: int
    face_set: int


@dataclass(frozen=True, slots=True)
class Scope:
    """What a purge kills: everything, one tenant's answers, or those of one of its face sets (the upstream's name)."""

    tenant: str | None = None
    face_set: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.face_set is not None and self.tenant is None:
            raise ValueError("a face set's scope needs its tenant")

    @property
    def address(self) -> str:
        """The scope's name in a store.

        Opaque, since a scope holds the upstream's name of a face set; and the same on every replica whatever its key
        file, so that a purge reaches replicas that have not re-read theirs yet.
        """
        if self.tenant is None:
            return EVERYTHING
        hasher = blake3()
        for part in (self.tenant, self.face_set or ""):
            data = part.encode()
            hasher.update(len(data).to_bytes(8, "little") + data)
        return hasher.hexdigest(length=16)


EVERYTHING = "all"
_MAX_EPOCH = 2**53
_AHEAD_MS = 86_400_000


class EpochView:
    """The epochs as this process last saw them. `version` changes whenever any of them does."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self.version = 0

    def of(self, scope: Scope) -> Epochs:
        """The epochs in force for a face set's scope."""
        known = self._known.get
        of_tenant = Scope(scope.tenant).address
        return Epochs(known(EVERYTHING, 0), known(of_tenant, 0), known(scope.address, 0))

    def known(self, scope: Scope) -> int:
        """The scope's own epoch."""
        return self._known.get(scope.address, 0)

    def raise_to(self, scope: Scope, epoch: int) -> None:
        """Takes over an epoch that this process brought into force itself."""
        self._known[scope.address] = epoch
        self.version += 1

    def adopt(self, seen: Mapping[str, int], latest: int) -> bool:
        """Takes over what the store holds. False, and nothing is taken over, if it is not to be trusted.

        That is the case if the store is behind what was known, or ahead of `latest` (see `Reading`). A higher `all`
        makes every older name invalid, so what was known of narrower scopes does not matter any more and all replicas
        agree on what the store says.
        """
        everything = seen.get(EVERYTHING, 0)
        known = self._known.get(EVERYTHING, 0)
        if known > latest:
            known = 0
        if everything <= 0 or everything < known or max(seen.values()) > latest:
            return False
        if everything == known and any(
            seen.get(address, 0) < epoch for address, epoch in self._known.items() if epoch <= latest
        ):
            return False
        if seen != self._known:
            self._known = dict(seen)
            self.version += 1
        return True


class Reading(NamedTuple):
    """What one reading of the store brought: its time (seconds since 1970), and the epoch of each scope by address."""

    store_time: float
    epochs: dict[str, int]

    @property
    def latest(self) -> int:
        """The highest epoch that can be trusted."""
        return int(self.store_time * 1000) + _AHEAD_MS


def parse_reading(text: object) -> Reading | None:
    """The reply of `read_epochs.lua`; None if it makes no sense or holds what no replica writes."""
    if not isinstance(text, bytes):
        return None
    parts = text.split(b" ")
    if len(parts) == 3 and not parts[2]:
        parts.pop()  # A hash without fields.
    if len(parts) % 2 or not (_is_number(parts[0]) and _is_number(parts[1])):
        return None
    epochs: dict[str, int] = {}
    try:
        for name, value in zip(parts[2::2], parts[3::2], strict=True):
            epoch = parse_epoch(value)
            if epoch is None or not name:
                return None
            epochs[name.decode("ascii")] = epoch
    except UnicodeDecodeError:
        return None
    return Reading(int(parts[0]) + int(parts[1]) / 1e6, epochs)


def parse_epoch(text: object) -> int | None:
    """An epoch as the store holds it; None if no replica can have written it."""
    if not isinstance(text, bytes) or not _is_number(text):
        return None
    epoch = int(text)
    return epoch if 0 < epoch < _MAX_EPOCH else None


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 16
