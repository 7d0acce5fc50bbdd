"""Whether the store's clock jumps, measured by this replica's monotonic clock. One for each store; does no I/O."""

from __future__ import annotations

import structlog

_JUMP_US = 5_000_000
"""Replies are late by milliseconds, and a clock that NTP corrects steps by less: more is a jump."""

_FORGET_US = 3_600_000_000
"""After this long without a reading, two good clocks may be apart by more than a reading can tell."""

_log = structlog.get_logger(__name__)


class StoreClock:
    """Compares the store's time with the replica's. All times are whole microseconds."""

    def __init__(self) -> None:
        self._offset: int | None = None
        self._read_at = 0

    def read(self, store_us: int, monotonic_us: int) -> int:
        """By how much the store's clock jumped since the last reading: ahead (positive), back (negative), or 0.

        A jump is logged. What the store keeps is put right by its scripts; see `counted` and `drained` in `prelude.lua`.
        """
        offset, before = store_us - monotonic_us, self._offset
        idle = monotonic_us - self._read_at
        self._offset, self._read_at = offset, monotonic_us
        if before is None or idle > _FORGET_US or abs(offset - before) <= _JUMP_US:
            return 0
        _log.warning("quota.store_clock_jumped", jump_seconds=round((offset - before) / 1_000_000, 3))
        return offset - before
