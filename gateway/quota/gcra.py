"""The rate of calls: GCRA in its form as a leaky bucket, in whole numbers.

ITU-T I.371 defines the algorithm twice, as virtual scheduling and as a continuous-state leaky bucket, and shows them equal.
The bucket is the form that stays exact here: a level in billionths of a call drains by `elapsed microseconds x calls in
1,000 seconds`, a product of whole numbers, where the time between two calls (333,333.3 microseconds at 3 a second) is not
one. Every value is below 2^53, so that `admit.lua`, whose numbers are doubles, computes the same. Pure: no clock, no state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from gateway.model import RateLimit

CALL = 1_000_000_000
"""One call, in the unit of levels and capacities."""

MAX_BURST = 8_000_000
"""Above this a full bucket would exceed 2^53."""


CUT_US = 60_000_000
"""How often, at most, calls under a lowered limit forgive the debt of the higher one: see `drained` in `prelude.lua`."""


class Flow(NamedTuple):
    """A rate in whole numbers: `drain` in calls in 1,000 seconds, `capacity` in billionths of a call."""

    drain: int
    capacity: int


@lru_cache(maxsize=4096)
def flow_of(rate: RateLimit) -> Flow:
    """The whole numbers of a rate, resolved to a thousandth of a call a second."""
    return Flow(max(1, round(rate.per_second * 1000)), min(max(1, rate.burst), MAX_BURST) * CALL)


def share_of(rate: RateLimit, replicas: int) -> Flow:
    """One replica's part of a rate. Its burst is at least one call, or a small burst would admit nothing at all."""
    whole = flow_of(rate)
    return Flow(max(1, whole.drain // replicas), max(CALL, whole.capacity // replicas))


def level_after(level: int, elapsed_us: int, flow: Flow) -> int:
    """The level after draining for `elapsed_us`; time that went back drains nothing."""
    return max(0, level - elapsed_us * flow.drain) if elapsed_us > 0 else level


def wait_us(level: int, flow: Flow) -> int:
    """Microseconds until one more call fits on `level`; 0 if it fits now."""
    excess = level + CALL - flow.capacity
    return -(-excess // flow.drain) if excess > 0 else 0


def remaining(level: int, flow: Flow) -> int:
    """Calls that fit on `level` now."""
    return max(0, (flow.capacity - level) // CALL)
