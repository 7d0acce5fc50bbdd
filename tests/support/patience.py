"""Seconds instead of 50 ms for a shared store's replies, for tests that are not about that time.

A reply that a busy machine delays past 50 ms changes what callers get: the cache is bypassed, quotas are degraded. So a
gateway in a test waits longer, and the machine decides nothing. The tests of the 50 ms themselves ask for them.

The product has no such setting: the 50 ms are the defaults of keyword arguments, which are exchanged here. Nothing else
is, so a gateway with patience is the real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.cache.shared import ValkeyCacheStore
from gateway.quota.build import build_quota
from gateway.quota.gate import QuotaGate
from gateway.quota.usage import UsageLedger

STORE_SECONDS = 5.0
_BUDGET = "budget_seconds"
_BUILDERS: tuple[Any, ...] = (ValkeyCacheStore.__init__, QuotaGate.__init__, UsageLedger.__init__, build_quota)


@contextmanager
def patience(seconds: float = STORE_SECONDS) -> Iterator[None]:
    """Whatever is built meanwhile, in this process, waits this long for a store, and goes on to do so."""
    before = [builder.__kwdefaults__[_BUDGET] for builder in _BUILDERS]
    for builder in _BUILDERS:
        builder.__kwdefaults__[_BUDGET] = seconds
    try:
        yield
    finally:
        for builder, budget in zip(_BUILDERS, before, strict=True):
            builder.__kwdefaults__[_BUDGET] = budget
