"""Slows down floods of calls that bring nobody anything, so that whoever causes one does not slow the callers that are served.

A call that is refused, or given up before it was answered, costs the gateway nearly as much as a cached answer, and its
caller nothing. While the event loop is busy, what one tenant (or all strangers together) causes of these beyond `PER_SECOND`
keeps its stream for up to `MAX_SECONDS`: a refusal is answered late, and a call whose caller has gone is not ended yet. A
connection has only so many streams, and gRPC refuses further ones (REFUSED_STREAM) without any Python, at a tenth of the cost.
Clients send such a call again by themselves. A client that gives up old calls to send others that are as old would
otherwise keep the gateway busy with calls that are dead when it sees them.

Only a call whose message was not read is slowed down: it takes little memory, and a call that is over gives its place back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.errors import (
    CredentialsInvalid,
    MethodNotImplemented,
    OperationNotAllowed,
    TenantConcurrencyExceeded,
    TenantNotAllowed,
    TenantRateLimited,
)
from gateway.rpc.busy import BusyLoop

PACED = (
    CredentialsInvalid,
    TenantNotAllowed,
    OperationNotAllowed,
    MethodNotImplemented,
    TenantRateLimited,
    TenantConcurrencyExceeded,
)
"""What a caller can cause as often as it likes, without getting anything for it."""

PER_SECOND = 200
BURST = 100
MAX_SECONDS = 8.0
MAX_WAITING = 8192
_LEAST_SECONDS = 0.001
_OTHERS_SECONDS = 1.0
"""How long after a call that was let through its tenant counts as being served."""


class Pace:
    """Decides how long a call keeps its stream. `caller` is a tenant's id, or "" for all strangers together."""

    def __init__(self, busy: Callable[[float], bool] | None = None) -> None:
        self._busy = busy or BusyLoop()
        self._due: dict[str, float] = {}
        self._latest = ""
        self._latest_at = self._other_at = float("-inf")
        self.waiting = 0
        """Calls that keep their streams now."""

    def let_through(self, caller: str, now: float) -> None:
        """Notes a call of `caller` that was not refused. `now` is monotonic, here and below."""
        if caller != self._latest:
            self._latest, self._other_at = caller, self._latest_at
        self._latest_at = now

    def of_refused(self, caller: str, now: float) -> float:
        """How many seconds to wait before a refusal of `caller` is answered. 0 where no other caller is served."""
        others_at = self._other_at if caller == self._latest else self._latest_at
        return self._excess(caller, now) if now - others_at <= _OTHERS_SECONDS else 0.0

    def of_given_up(self, caller: str, now: float) -> float:
        """How many seconds a call of `caller` that was given up keeps its stream."""
        return self._excess(caller, now)

    def _excess(self, caller: str, now: float) -> float:
        if self.waiting >= MAX_WAITING or not self._busy(now):
            return 0.0
        due = max(self._due.get(caller, 0.0), now - BURST / PER_SECOND) + 1 / PER_SECOND
        self._due[caller] = min(due, now + MAX_SECONDS)
        seconds = min(due - now, MAX_SECONDS)
        return seconds if seconds >= _LEAST_SECONDS else 0.0

    async def wait_until(self, then: float) -> None:
        """Waits as one of those that keep their streams. `then` is monotonic; one that has passed is no wait."""
        seconds = then - time.monotonic()
        if seconds > 0:
            self.waiting += 1
            try:
                await asyncio.sleep(seconds)
            finally:
                self.waiting -= 1
