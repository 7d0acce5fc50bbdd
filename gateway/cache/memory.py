"""Records in this process: bounded by bytes, the least recently used go first.

Serves as the whole store of a single replica and as the small tier in front of a shared one. Knows nothing of what a
record means. The bound counts what the records really take: the table's own size as CPython reports it and each
string's as its allocator rounds it, so that resident memory follows it (`bench/cache_cost.py` measures).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

from gateway.cache.epochs import EpochView, Scope
from gateway.cache.key import CacheKey
from gateway.cache.store import Change, Held
from gateway.clock import Clock

_EXPIRY = struct.Struct("<d")
_BYTES_OVERHEAD = sys.getsizeof(b"")
_NAME_BYTES = 32
_DROPPED_A_PUT = 2
_SHARD_BYTES = 1 << 20


def _resident(length: int) -> int:
    # Both allocators (CPython's up to 512 bytes, the C library's above, which adds 8) round up to 16.
    size = _BYTES_OVERHEAD + length
    return (size + 15) & ~15 if size <= 512 else (size + 8 + 15) & ~15


_NAME_RESIDENT = _resident(_NAME_BYTES)


class _Shard:
    """A part of the names with its part of the bytes; the dictionary's order is the order of use."""

    __slots__ = ("max_bytes", "payload_bytes", "records")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.records: dict[bytes, bytes] = {}
        self.payload_bytes = 0

    @property
    def used_bytes(self) -> int:
        # The table counts double: where it outgrew its former place, that is a hole which the C library keeps.
        return self.payload_bytes + 2 * sys.getsizeof(self.records)

    def get(self, name: bytes, now: float) -> bytes | None:
        stored = self.records.pop(name, None)
        if stored is None:
            return None
        if _EXPIRY.unpack_from(stored)[0] <= now:
            self.payload_bytes -= _NAME_RESIDENT + _resident(len(stored))
            return None
        self.records[name] = stored
        return stored[_EXPIRY.size :]

    def expires_at(self, name: bytes) -> float | None:
        stored = self.records.get(name)
        return None if stored is None else float(_EXPIRY.unpack_from(stored)[0])

    def put(self, name: bytes, stored: bytes, now: float) -> None:
        self.remove(name)
        self.records[name] = stored
        self.payload_bytes += _NAME_RESIDENT + _resident(len(stored))
        self.drop_expired(now, _DROPPED_A_PUT)
        while self.records and self.used_bytes > self.max_bytes:
            self.remove(next(iter(self.records)))

    def remove(self, name: bytes) -> None:
        stored = self.records.pop(name, None)
        if stored is not None:
            self.payload_bytes -= _NAME_RESIDENT + _resident(len(stored))

    def drop_expired(self, now: float, limit: int) -> int:
        dropped = 0
        while dropped < limit and self.records:
            oldest = next(iter(self.records))
            if _EXPIRY.unpack_from(self.records[oldest])[0] > now:
                break
            self.remove(oldest)
            dropped += 1
        return dropped


class Records:
    """Bytes by name, each with the time at which it expires, by this process's monotonic clock.

    Split into shards of about a megabyte, so that no growth of a table and no run of removals takes long. Names are
    keyed hashes, so the shards fill evenly; the order of use is exact within a shard.
    """

    def __init__(self, clock: Clock, max_bytes: int) -> None:
        """Records that would take more than `max_bytes` (with their tables) are put out, oldest use first."""
        self._now = clock.monotonic
        count = max(1, max_bytes // _SHARD_BYTES)
        self._shards = [_Shard(max_bytes // count) for _ in range(count)]

    def __len__(self) -> int:
        return sum(len(shard.records) for shard in self._shards)

    @property
    def used_bytes(self) -> int:
        """What the records and their tables take in memory."""
        return sum(shard.used_bytes for shard in self._shards)

    def get(self, name: bytes) -> bytes | None:
        """The record, which counts as used now; None if there is none or it is dead."""
        return self._shard(name).get(name, self._now())

    def put(self, name: bytes, record: bytes, expires_at: float) -> None:
        """Keeps the record, as far as it fits. `expires_at` is a time of the monotonic clock."""
        self._shard(name).put(name, _EXPIRY.pack(expires_at) + record, self._now())

    def expires_at(self, name: bytes) -> float | None:
        """When the record expires; None if there is none. Does not count as a use."""
        return self._shard(name).expires_at(name)

    def remove(self, name: bytes) -> None:
        """Forgets the record, if there is one."""
        self._shard(name).remove(name)

    def drop_expired(self, limit: int) -> int:
        """Forgets dead records from the least recently used on, `limit` a shard at most; how many it forgot.

        What has not been used for its whole lifetime is dead, so dead records gather at that end.
        """
        return sum(shard.drop_expired(self._now(), limit) for shard in self._shards)

    def _shard(self, name: bytes) -> _Shard:
        return self._shards[int.from_bytes(name[-4:], "little") % len(self._shards)]


class MemoryCacheStore:
    """The store of a single replica. Always available, never waits; ends with the process, and its epochs with it."""

    available = True
    shared = False

    def __init__(self, clock: Clock, max_bytes: int) -> None:
        self.epochs = EpochView()
        self.records = Records(clock, max_bytes)
        self._wall = clock.now
        # The entries are read by this process alone, so its monotonic clock dates them.
        self.time = clock.monotonic

    @staticmethod
    def time_at(monotonic: float) -> float:
        """See `CacheStore`: the same moment."""
        return monotonic

    def held(self) -> Held:
        """See `CacheStore`. Nobody else can write here, so nothing is ever refused."""
        return Held(len(self.records), self.records.used_bytes, 0)

    def peek(self, key: CacheKey) -> bytes | None:
        """See `CacheStore`."""
        return self.records.get(key.name)

    async def fetch(self, key: CacheKey) -> bytes | None:
        """There is nothing beyond this process."""
        return None

    async def update(
        self,
        key: CacheKey,
        change: Callable[[bytes | None], Change | None],
        *,
        asked_at: float,
        waited_seconds: float = 0.0,
    ) -> None:
        """See `CacheStore`."""
        changed = change(self.records.get(key.name))
        if changed is not None:
            record, lifetime_seconds = changed
            self.records.put(key.name, record, self.time() + lifetime_seconds)

    async def purge(self, scope: Scope) -> int:
        """See `CacheStore`."""
        epoch = max(self.epochs.known(scope) + 1, int(self._wall() * 1000))
        self.epochs.raise_to(scope, epoch)
        return epoch
