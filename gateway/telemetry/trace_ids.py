"""Which trace a call belongs to, and whether it is sampled: W3C traceparent, and the parent-based ratio rule.

Traces cost what they are bounded by. Callers that are not authenticated get traces of their own, whatever their headers
say, and a few per second are sampled at most. Authenticated callers' decisions to sample are honoured up to a number per
second and tenant. Calls that a limit kept from being sampled are counted.

The SDK's own way costs 12 µs for a call that is not sampled. Here it is a few comparisons, and spans are made only for
calls that are, after they have ended.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.telemetry import catalogue_telemetry
from gateway.telemetry.instruments import Counter
from gateway.telemetry.per_second import PerSecond
from gateway.telemetry.record import CallRecord

STRANGERS_SAMPLED = 2
"""Calls per second that are sampled of all callers that are not authenticated."""
FLAGGED = 100
"""Calls per second and tenant that are sampled because their callers say so."""

# Version, trace id, parent id, flags; a later version may add more. Longer headers than this are not looked at.
_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_MAX_CHARACTERS = 256
_LOW_64_BITS = (1 << 64) - 1
# Ids have to be unique, not secret.
_random = random.Random()  # noqa: S311


@dataclass(frozen=True, slots=True)
class Sampler:
    """Decides as OpenTelemetry's samplers of the same names do.

    `ratio` is for calls whose caller has not decided; `parent_based` says whether callers may decide.
    """

    ratio: float
    parent_based: bool = True

    @property
    def bound(self) -> int:
        """Trace ids whose lower half is below it are sampled: the rule that all SDKs share."""
        return round(self.ratio * (1 << 64))


NEVER = Sampler(0.0, parent_based=False)


def sampler_of(environ: Mapping[str, str], ratio: float) -> Sampler:
    """The sampler of `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`; without them the parent-based `ratio`."""
    name = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    try:
        given = float(environ.get("OTEL_TRACES_SAMPLER_ARG", "1"))
    except ValueError:
        given = 1.0
    ratios = {"always_on": 1.0, "always_off": 0.0, "traceidratio": given if 0 <= given <= 1 else 1.0}
    base = name.removeprefix("parentbased_")
    if base not in ratios:
        return Sampler(ratio)
    return Sampler(ratios[base], parent_based=base != name)


class TraceIds:
    """Gives each call its trace. `limited` counts calls that a limit kept from being sampled."""

    def __init__(self, sampler: Sampler, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bound = sampler.bound
        self._parent_based = sampler.parent_based
        self._monotonic = monotonic
        self._strangers = PerSecond(STRANGERS_SAMPLED)
        # By tenant. They come from the configuration, so there is a bounded number.
        self._flagged: dict[str, PerSecond] = {}
        self.limited = Counter(catalogue_telemetry.SAMPLING_LIMITED)

    def assign(self, record: CallRecord, traceparent: str) -> None:
        """Sets the record's ids and whether it is sampled. A `traceparent` that is malformed counts as none.

        Nor does one of a call without a tenant count: whoever sent it is not authenticated.
        """
        record.span_id = _random.getrandbits(64) or 1
        parent = None
        if record.tenant and 55 <= len(traceparent) <= _MAX_CHARACTERS:
            parent = _TRACEPARENT.fullmatch(traceparent)
        if parent is None or (parent[1] == "00" and parent[5]):
            record.trace_id = _random.getrandbits(128) or 1
            record.sampled = self._by_ratio(record) and (bool(record.tenant) or self._takes(self._strangers))
            return
        record.trace_id = int(parent[2], 16)
        record.parent_span_id = int(parent[3], 16)
        if not self._parent_based:
            # Whoever chooses the trace id can choose one that is sampled.
            record.sampled = record.flagged = self._by_ratio(record)
        elif int(parent[4], 16) & 1:
            record.sampled = record.flagged = self._takes(self._limit_of(record.tenant))

    def _limit_of(self, tenant: str) -> PerSecond:
        limit = self._flagged.get(tenant)
        if limit is None:
            limit = self._flagged[tenant] = PerSecond(FLAGGED)
        return limit

    def _by_ratio(self, record: CallRecord) -> bool:
        return (record.trace_id & _LOW_64_BITS) < self._bound

    def _takes(self, limit: PerSecond) -> bool:
        if limit.take(self._monotonic()):
            return True
        self.limited.add(())
        return False

    def assign_span(self, record: CallRecord) -> None:
        """Gives a record that knows its trace and parent a span id of its own."""
        record.span_id = _random.getrandbits(64) or 1
