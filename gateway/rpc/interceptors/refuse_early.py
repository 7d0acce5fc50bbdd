"""Refuses a search on its headers, when its tenant's rate is known to be used up: its body is never read."""

from __future__ import annotations

from gateway.auth.authorizer import Permission
from gateway.clock import Clock
from gateway.errors import TenantRateLimited
from gateway.quota.gate import QuotaGate
from gateway.quota.usage import UsageLedger
from gateway.rpc.call import Call
from gateway.rpc.interceptors import Ready, Waiting
from gateway.rpc.policy import POLICY


class RefuseEarly:
    """After authentication. The rate itself is charged in `service.py`; this only remembers its refusals."""

    def __init__(self, quota: QuotaGate, usage: UsageLedger, clock: Clock) -> None:
        self._quota = quota
        self._usage = usage
        self._clock = clock

    def on_headers(self, call: Call) -> bool:
        """Raises `TenantRateLimited` while nothing but a refusal could follow."""
        if POLICY[call.method] is Permission.SEARCH:
            until = self._quota.refused_until(call.tenant)
            if until is not None:
                today = self._usage.today(call.tenant.id)
                today.searches += 1
                today.quota_rejections += 1
                wait = until - self._clock.monotonic()
                raise TenantRateLimited(call.tenant.id, "rate", retry_after_seconds=wait)
        return True

    def wrap(self, proceed: Waiting) -> Waiting:
        """Nothing to add: the gate decides about calls that get this far."""
        return proceed

    def wrap_ready(self, proceed: Ready) -> Ready:
        """Nor here."""
        return proceed
