"""Log events that an operator must act on, as lines that a failing vendor cannot turn into a flood."""

from __future__ import annotations

import structlog

from gateway.clock import Clock

REPEAT_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Alarms:
    """Logs each event at once, then at most every `REPEAT_SECONDS`, with the number of those left out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def sound(self, event: str, upstream_status: str, credential: str, **more: str) -> None:
        """Logs `event`, a constant dotted name. `credential` is the pair's name, never its value; `more` are constants."""
        now = self._clock.monotonic()
        if now - self._last.get(event, float("-inf")) < REPEAT_SECONDS:
            self._left_out[event] = self._left_out.get(event, 0) + 1
            return
        self._last[event] = now
        log.error(
            event,
            upstream_status=upstream_status,
            credential=credential,
            left_out=self._left_out.pop(event, 0),
            **more,
        )
