"""Counts searches in the ledger: each one once in `searches`, and once by how it ended."""

from __future__ import annotations

from gateway.errors import Reason
from gateway.model import CacheStatus
from gateway.quota.usage import UsageLedger

_REJECTIONS = frozenset((Reason.TENANT_RATE_LIMITED, Reason.TENANT_CONCURRENCY_EXCEEDED, Reason.TENANT_QUOTA_EXCEEDED))
# The answers that cost no upstream call.
_HITS = frozenset((CacheStatus.HIT, CacheStatus.COALESCED))


def count_search(ledger: UsageLedger, tenant: str, *, reason: str, cache_status: str) -> None:
    """Counts one search of `tenant` that has ended.

    `reason` is the published reason of its error, "" if it was answered. An error that a limit of the tenant caused is a
    rejection; any other one, also of a caller that gave up, is a failure.
    """
    today = ledger.today(tenant)
    today.searches += 1
    if not reason:
        if cache_status in _HITS:
            today.cache_hits += 1
    elif reason in _REJECTIONS:
        today.quota_rejections += 1
    else:
        today.failures += 1
