"""The states of other parts that telemetry shows: callables that the composition root hands in.

A callable that is left out makes its metric absent. Each runs on the event loop whenever somebody looks, so it has to
answer from memory, at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gateway.memory_limit import container_limit_bytes
from gateway.telemetry import catalogue, catalogue_telemetry
from gateway.telemetry.instruments import Collected, Labels, Metric
from gateway.telemetry.lines import Queue
from gateway.telemetry.logging import output


class FileState(NamedTuple):
    """A group of watched files: for each path whether what is on disk there is refused."""

    name: str
    age_seconds: float
    rejected: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Observed:
    """What may be asked of the other parts.

    `stores` maps `quota` and `cache` to whether the store answers; `credentials` maps each pair of the vendor's, by its
    alias, to whether what is on disk is in force; `cache_faults` counts stored values that were refused;
    `certificates` maps `catalogue.CERTIFICATES` to when they end, in seconds since 1970; `quotas_used` maps tenant and
    limit to the part of it that is used.
    """

    ready: Callable[[], bool] | None = None
    calls_in_flight: Callable[[], int] | None = None
    body_bytes_in_flight: Callable[[], int] | None = None
    upstream_in_flight: Callable[[], int] | None = None
    upstream_waiting: Callable[[], int] | None = None
    cache_bytes: Callable[[], int] | None = None
    cache_entries: Callable[[], int] | None = None
    cache_faults: Callable[[], int] | None = None
    stores: Callable[[], Mapping[str, bool]] | None = None
    credentials: Callable[[], Mapping[str, bool]] | None = None
    files: Callable[[], Sequence[FileState]] | None = None
    certificates: Callable[[], Mapping[str, float]] | None = None
    quotas_used: Callable[[], Mapping[tuple[str, str], float]] | None = None

    def collect(self) -> list[Collected]:
        """All states now."""
        single = (
            (catalogue.READY, self.ready),
            (catalogue.IN_FLIGHT_CALLS, self.calls_in_flight),
            (catalogue.IN_FLIGHT_BYTES, self.body_bytes_in_flight),
            (catalogue.UPSTREAM_IN_FLIGHT, self.upstream_in_flight),
            (catalogue.UPSTREAM_WAITING, self.upstream_waiting),
            (catalogue.CACHE_BYTES, self.cache_bytes),
            (catalogue.CACHE_ENTRIES, self.cache_entries),
            (catalogue.CACHE_FAULTS, self.cache_faults),
        )
        found = [_one(metric, read()) for metric, read in single if read is not None]
        if self.stores is not None:
            found.append(_all(catalogue.STORE_UP, {(name,): float(up) for name, up in self.stores().items()}))
        if self.files is not None:
            files = self.files()
            found.append(_all(catalogue.FILES_AGE, {(group.name,): group.age_seconds for group in files}))
            rejected: dict[Labels, float] = {
                (group.name, path): float(bad) for group in files for path, bad in group.rejected.items()
            }
            found.append(_all(catalogue.FILES_REJECTED, rejected))
        if self.certificates is not None:
            ends: dict[Labels, float] = {(name,): end for name, end in self.certificates().items()}
            found.append(_all(catalogue.CERTIFICATE_EXPIRY, ends))
        if self.quotas_used is not None:
            found.append(Collected(catalogue.QUOTA_USED, tuple(self.quotas_used().items())))
        return found


def process_state(version: str) -> list[Collected]:
    """What this process uses, and what its logs lost."""
    logs = output()
    lost = logs.lost if logs else [0] * len(Queue)
    return [
        _all(catalogue.BUILD, {(version,): 1.0}),
        _one(catalogue.CPU_TIME, time.process_time()),
        _one(catalogue.MEMORY, _resident_bytes()),
        _one(catalogue.MEMORY_LIMIT, _memory_limit_bytes()),
        _all(catalogue_telemetry.LOG_LINES_LOST, {(queue.label,): lost[queue] for queue in Queue}),
        _one(catalogue_telemetry.LOG_KEYS_DROPPED, logs.keys_dropped if logs else 0),
    ]


def _resident_bytes() -> float:
    try:
        # Not always 4 KiB: a page has 16 or 64 KiB on some ARM systems.
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * float(os.sysconf("SC_PAGESIZE"))
    except (OSError, ValueError, IndexError):
        return 0.0


def _memory_limit_bytes() -> float:
    # Read each time: a pod can be given more memory while it runs.
    return float(container_limit_bytes() or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE"))


def _one(metric: Metric, value: float) -> Collected:
    return Collected(metric, (((), float(value)),))


def _all(metric: Metric, points: Mapping[Labels, float]) -> Collected:
    return Collected(metric, tuple(points.items()))
