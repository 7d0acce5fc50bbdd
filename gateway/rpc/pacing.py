"""Answers floods of refusals at a pace, so that whoever causes one does not slow the callers that are served.

A refused call costs the gateway nearly as much as a cached answer, and its caller nothing. So while other callers are being
served, the refusals of one tenant (or of all strangers together) that exceed `PER_SECOND` are answered late, up to
`MAX_DELAY_SECONDS`. A connection may have only so many calls open, so its caller cannot go on any faster. Where nobody else
calls, every refusal is answered at once.
"""

from __future__ import annotations

import asyncio

from gateway.errors import (
    CredentialsInvalid,
    MethodNotImplemented,
    OperationNotAllowed,
    TenantConcurrencyExceeded,
    TenantNotAllowed,
    TenantRateLimited,
)

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
MAX_DELAY_SECONDS = 2.0
MAX_DELAYED = 4096
_LEAST_DELAY_SECONDS = 0.001
_OTHERS_SECONDS = 1.0
"""How long after a call that was let through its tenant counts as being served."""


class RefusalPace:
    """Decides when a refusal is answered. `caller` is a tenant's id, or "" for all strangers together."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._latest = ""
        self._latest_at = self._other_at = float("-inf")
        self.delayed = 0
        """Refusals that wait now."""

    def let_through(self, caller: str, now: float) -> None:
        """Notes a call of `caller` that was not refused. `now` is monotonic, here and below."""
        if caller != self._latest:
            self._latest, self._other_at = caller, self._latest_at
        self._latest_at = now

    def delay(self, caller: str, now: float) -> float:
        """How many seconds to wait before a refusal of `caller` is answered."""
        others_at = self._other_at if caller == self._latest else self._latest_at
        if now - others_at > _OTHERS_SECONDS or self.delayed >= MAX_DELAYED:
            return 0.0
        due = max(self._due.get(caller, 0.0), now - BURST / PER_SECOND) + 1 / PER_SECOND
        self._due[caller] = min(due, now + MAX_DELAY_SECONDS)
        wait = min(due - now, MAX_DELAY_SECONDS)
        return wait if wait >= _LEAST_DELAY_SECONDS else 0.0

    async def wait(self, seconds: float) -> None:
        """Waits as `delay` said."""
        self.delayed += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self.delayed -= 1
