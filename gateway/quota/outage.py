"""Whether the quota store is out: a breaker that opens on a broken connection or three time-outs in a row.

Used by `gate.py`, which closes it again once the store has been told what was spent meanwhile. Pure but for its one log
line a change.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.quota.store import OutageCause

_TIMEOUTS_IN_A_ROW = 3
_log = structlog.get_logger(__name__)


class Outage:
    """`on_change` is told True when the store goes out and False when it is back. `now` is monotonic, in seconds."""

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self.open = False
        self.cause: OutageCause | None = None
        self._on_change = on_change
        self.timeouts = 0
        """How many questions in a row had no answer."""
        self._since = 0.0

    def answered(self) -> None:
        """The store gave a verdict. Needs saying only while there are `timeouts`."""
        self.timeouts = 0

    def failed(self, cause: OutageCause, now: float) -> None:
        """The store gave none. A single time-out may be a hiccup; anything else is an outage at once."""
        self.timeouts += 1
        if self.open or (cause is OutageCause.TIMEOUT and self.timeouts < _TIMEOUTS_IN_A_ROW):
            return
        self.open = True
        self.cause = cause
        self._since = now
        _log.warning("quota.store_lost", cause=cause.value)
        self._on_change(self.open)

    def ended(self, now: float, *, written_back: int) -> None:
        """The store is back and knows everything."""
        self.open = False
        self.cause = None
        self.timeouts = 0
        _log.warning("quota.store_recovered", outage_seconds=round(now - self._since, 3), written_back=written_back)
        self._on_change(self.open)
