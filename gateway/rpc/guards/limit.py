"""Charges each call to its tenant's limits, before its message is read: rate and concurrency of a search, a rate of others.

Also counts each search in the ledger, whatever became of it.
"""

from __future__ import annotations

from gateway.aio import at_once
from gateway.auth.authorizer import Permission
from gateway.clock import Clock
from gateway.errors import TenantRateLimited
from gateway.quota.admission import Admission
from gateway.quota.gate import QuotaGate
from gateway.quota.reads import REPORT_WEIGHT, ReadRate
from gateway.quota.search_count import count_search
from gateway.quota.usage import UsageLedger
from gateway.rpc.call import Call
from gateway.rpc.policy import POLICY

_WEIGHTS = {
    "/facegate.search.v1.FaceSearchService/GetUsage": REPORT_WEIGHT,
    "/facegate.admin.v1.AdminService/ListTenantUsage": REPORT_WEIGHT,
}


class Limit:
    """After authentication, since limits are tenants'. Before capacity, so that what a limit refuses takes no place."""

    def __init__(self, quota: QuotaGate, usage: UsageLedger, clock: Clock) -> None:
        self._quota = quota
        self._usage = usage
        self._clock = clock
        self._reads = ReadRate(clock)

    def on_headers(self, call: Call) -> bool:
        """False if the store of quotas has to be asked."""
        tenant = call.tenant
        if POLICY[call.method] is not Permission.SEARCH:
            wait = self._reads.charge(tenant.id, _WEIGHTS.get(call.method, 1))
            if wait:
                raise TenantRateLimited(tenant.id, "rate", retry_after_seconds=wait)
            return True
        call.counted = True
        until = self._quota.refused_until(tenant)
        if until is not None:
            raise TenantRateLimited(tenant.id, "rate", retry_after_seconds=until - self._clock.monotonic())
        if self._quota.waits:
            return False
        started = self._clock.monotonic()
        try:
            self._admitted(call, at_once(self._quota.admit(tenant)))
        finally:
            call.record.spent("quota", started, self._clock.monotonic())
        return True

    async def wait(self, call: Call) -> None:
        """Asks the store."""
        started = self._clock.monotonic()
        try:
            self._admitted(call, await self._quota.admit(call.tenant))
        finally:
            call.record.spent("quota", started, self._clock.monotonic())

    def _admitted(self, call: Call, admission: Admission) -> None:
        call.admission = admission
        call.record.quota_remaining, call.record.degraded = admission.remaining, admission.degraded

    def on_message(self, call: Call) -> None:
        """Charged on its headers already. The tenant's face sets may have changed since."""
        if call.admission is not None:
            call.admission.tenant = call.tenant

    def on_end(self, call: Call) -> None:
        """Frees the call's slot, unless a search of its that is upstream keeps it."""
        if call.admission is not None:
            call.admission.release()
        if call.counted:
            record = call.record
            count_search(self._usage, call.tenant.id, reason=record.reason, cache_status=record.cache_status)
