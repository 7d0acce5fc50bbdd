"""Whether the quota store is out: a breaker that opens on a broken connection or three time-outs in a row.

Used by `gate.py`. `recovery.py` closes it once the store knows what was spent meanwhile. A store that comes and goes is
given a rest that grows, so that the state, and what operators read of it, lasts. Pure but for one log line a change.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from gateway.quota.store import OutageCause

_TIMEOUTS_IN_A_ROW = 3
_CLOCK_SECONDS = 0.01
"""An event loop reads its clock once a turn, so that it is some milliseconds late."""

_SHORT_SECONDS = 0.25
_FEW_QUESTIONS = 20
_LONG_SECONDS = 60.0
_FIRST_REST_SECONDS = 0.25
_LONGEST_REST_SECONDS = 30.0
_log = structlog.get_logger(__name__)


class Outage:
    """`on_change` is called with True when the store becomes unavailable, and with False when it is back.

    Times are monotonic, in seconds. `questions` counts all questions that were put so far; it is read when the state
    changes.
    """

    def __init__(self, on_change: Callable[[bool], None], questions: Callable[[], int] = int) -> None:
        self.open = False
        self.cause: OutageCause | None = None
        self._on_change = on_change
        self._questions = questions
        self.timeouts = 0
        """How many questions in a row had no answer."""
        self.rest_seconds = 0.0
        """How long this outage lasts at least: nothing, unless the store failed again soon after it came back."""
        self._timed_out_at = float("-inf")
        self._since = 0.0
        self._ended_at = float("-inf")
        self._questions_at_end = 0

    def answered(self) -> None:
        """The store gave a verdict. Needs to be called only while there are `timeouts`."""
        self.timeouts = 0

    def failed(self, cause: OutageCause, now: float, waited_seconds: float = 0.0) -> None:
        """The store gave none. A single time-out may be a hiccup; anything else is an outage at once.

        Questions that waited at the same time are one time-out: the same hiccup met them all.
        """
        if self.open:
            return
        if cause is OutageCause.TIMEOUT:
            if now - waited_seconds < self._timed_out_at - _CLOCK_SECONDS:
                return
            self._timed_out_at = now
            self.timeouts += 1
            if self.timeouts < _TIMEOUTS_IN_A_ROW:
                return
        self.open = True
        self.cause = cause
        self._since = now
        self.rest_seconds = self._rest(now)
        _log.warning("quota.store_lost", cause=cause.value)
        self._on_change(self.open)

    def _rest(self, now: float) -> float:
        up = now - self._ended_at
        if up > _LONG_SECONDS or (up > _SHORT_SECONDS and self._questions() - self._questions_at_end > _FEW_QUESTIONS):
            return 0.0
        return min(max(2 * self.rest_seconds, _FIRST_REST_SECONDS), _LONGEST_REST_SECONDS)

    def ended(self, now: float, *, written_back: int) -> None:
        """The store is back and knows everything."""
        self.open = False
        self.cause = None
        self.timeouts = 0
        self._timed_out_at = float("-inf")
        self._ended_at = now
        self._questions_at_end = self._questions()
        _log.warning("quota.store_recovered", outage_seconds=round(now - self._since, 3), written_back=written_back)
        self._on_change(self.open)
