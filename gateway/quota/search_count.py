"""Counts searches in the ledger: each one once in `searches`, and once by how it ended."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from gateway.errors import QuotaExceeded
from gateway.model import CacheStatus
from gateway.quota.usage import UsageLedger

# The answers that cost no upstream call.
_HITS = (CacheStatus.HIT, CacheStatus.COALESCED)


class SearchCount:
    """A `with` block around one search of a tenant, from the first thing that can refuse it to its answer.

    It counts one search. A block that ends without an exception was answered; one that ends with a `QuotaExceeded` is a
    rejection; any other end, a caller that gave up among them, is a failure.
    """

    __slots__ = ("_ledger", "_tenant")

    def __init__(self, ledger: UsageLedger, tenant: str) -> None:
        self._ledger = ledger
        self._tenant = tenant

    def __enter__(self) -> Self:
        self._ledger.today(self._tenant).searches += 1
        return self

    def answered(self, status: CacheStatus) -> None:
        """Notes how the cache took part in the answer."""
        if status in _HITS:
            self._ledger.today(self._tenant).cache_hits += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            return
        today = self._ledger.today(self._tenant)
        if isinstance(error, QuotaExceeded):
            today.quota_rejections += 1
        else:
            today.failures += 1
