"""Measures each request to the vendor. Stands inside all that repeats, so that every request is counted once."""

from __future__ import annotations

from typing import Protocol

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from gateway.upstream.port import Upstream


class OnAttempt(Protocol):
    """What hears of each attempt."""

    def __call__(self, status: str, seconds: float, requests: int) -> None:
        """An attempt ended with `status` after `seconds`. `requests` is how many requests left: 0 if none did."""


class Timed:
    """An `Upstream` around another one, which makes one request."""

    def __init__(self, attempt: Upstream, on_attempt: OnAttempt, clock: Clock) -> None:
        self._attempt = attempt
        self._on_attempt = on_attempt
        self._clock = clock

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        """See `Upstream.search`."""
        started, sent_before = self._clock.monotonic(), trip.attempts
        status = "cancelled"
        try:
            answer = await self._attempt.search(query, trip)
            status = answer.upstream_status
            return answer
        except Exception as failure:
            # An error of the gateway's own side has no status: then nothing was sent, and the vendor did not fail.
            status = getattr(failure, "upstream_status", "" if isinstance(failure, GatewayError) else "other")
            raise
        finally:
            if status:
                self._on_attempt(status, self._clock.monotonic() - started, trip.attempts - sent_before)
