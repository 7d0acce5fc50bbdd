"""A tenant's limits as `GetQuota` reports them: pure arithmetic on a store's snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.model import Limits, RateLimit
from gateway.quota.gcra import CALL, Flow, flow_of, remaining
from gateway.quota.store import Snapshot
from gateway.quota.windows import LIMIT_IDS, window_start

_SECOND_US = 1_000_000


class LimitKind(StrEnum):
    """What a limit counts."""

    RATE = "rate"
    CONCURRENCY = "concurrency"
    UPSTREAM_CALLS = "upstream_calls"


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """One limit: how much it allows, has used and has left.

    `window_seconds` is the window's length, or the time in which a rate refills; `reset_time` (seconds since 1970) is
    when `used` is next 0 if nothing more is spent. Both are None for concurrency.
    """

    id: str
    kind: LimitKind
    limit: int
    used: int
    remaining: int
    window_seconds: float | None = None
    reset_time: float | None = None


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """All limits of a tenant. `degraded`: the store is out, and the figures are this replica's share."""

    limits: tuple[LimitStatus, ...]
    degraded: bool


def describe(limits: Limits, snapshot: Snapshot) -> tuple[LimitStatus, ...]:
    """Every configured limit, in the order rate, concurrency, windows."""
    found: list[LimitStatus] = []
    if limits.rate is not None:
        found.append(_rate(limits.rate, flow_of(limits.rate), snapshot))
    if limits.concurrency is not None:
        left = max(0, limits.concurrency - snapshot.slots)
        found.append(LimitStatus("concurrency", LimitKind.CONCURRENCY, limits.concurrency, snapshot.slots, left))
    for window, limit in limits.upstream_calls.items():
        used, end_us = snapshot.counts[window]
        seconds = (end_us - window_start(window, end_us)) / _SECOND_US
        found.append(
            LimitStatus(
                LIMIT_IDS[window],
                LimitKind.UPSTREAM_CALLS,
                limit,
                used,
                max(0, limit - used),
                seconds,
                end_us / _SECOND_US,
            )
        )
    return tuple(found)


def _rate(rate: RateLimit, flow: Flow, snapshot: Snapshot) -> LimitStatus:
    """`used` is rounded up: a call that has begun to drain still takes its place."""
    return LimitStatus(
        "rate",
        LimitKind.RATE,
        flow.capacity // CALL,
        min(-(-snapshot.level // CALL), flow.capacity // CALL),
        remaining(snapshot.level, flow),
        rate.burst / rate.per_second,
        (snapshot.now_us + -(-snapshot.level // flow.drain)) / _SECOND_US,
    )
