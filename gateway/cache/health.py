"""Whether a shared store is in or out, and the one log line at each change.

A call that fails takes the store out at once, so that no second call waits for it; only the next probe that succeeds
takes it back in. Knows nothing of the store's protocol.
"""

from __future__ import annotations

from enum import StrEnum

import structlog

from gateway.clock import Clock

_log = structlog.get_logger(__name__)

_WRITE_PAUSE_SECONDS = 1.0
_WRITE_CALM_SECONDS = 30.0


class Cause(StrEnum):
    """Why a store is out."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    REFUSED = "refused"
    GARBAGE = "garbage"


class Health:
    """In or out, since when (seconds since 1970), and whether a store that is in takes writes.

    A full store refuses writes and lets them pass in turns, as values die in it. So writing pauses for a second after a
    refusal, and the store counts as writable again only after half a minute without one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.is_out = False
        self.since = clock.now()
        self._since = clock.monotonic()
        self._refused_at: float | None = None

    def failed(self, cause: Cause) -> bool:
        """Notes a failed call; True if the store was in until now."""
        if self.is_out:
            return False
        self.is_out, self.since, self._since = True, self._clock.now(), self._clock.monotonic()
        _log.warning("cache.store_out", cause=cause.value)
        return True

    def answered(self) -> None:
        """Notes that a probe was answered."""
        if self.is_out:
            out_seconds = self._clock.monotonic() - self._since
            self.is_out, self.since = False, self._clock.now()
            _log.info("cache.store_back", out_seconds=round(out_seconds, 3))

    @property
    def may_write(self) -> bool:
        """False for a second after a refused write."""
        return self._refused_at is None or self._clock.monotonic() - self._refused_at >= _WRITE_PAUSE_SECONDS

    def write_refused(self) -> None:
        """Notes that the store answers but keeps nothing: full, or a replica."""
        if self._refused_at is None:
            _log.warning("cache.store_refuses_writes")
        self._refused_at = self._clock.monotonic()

    def wrote(self) -> None:
        """Notes a write that was kept."""
        if self._refused_at is not None and self._clock.monotonic() - self._refused_at >= _WRITE_CALM_SECONDS:
            self._refused_at = None
            _log.info("cache.store_takes_writes")


class FaultLog:
    """Stored values that were refused: every one counted, one log line a minute."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._logged_at: float | None = None
        self.counts: dict[str, int] = {}

    def note(self, fault: str) -> None:
        """Notes one."""
        self.counts[fault] = self.counts.get(fault, 0) + 1
        now = self._monotonic()
        if self._logged_at is None or now - self._logged_at >= 60.0:
            self._logged_at = now
            _log.error("cache.value_refused", fault=fault, total=sum(self.counts.values()))
