"""What telemetry costs a call in processor time, part by part.

    python -m bench.telemetry_cost [--rounds N]

Each line is the median of several rounds in microseconds a call, with the other parts off; the last ones are all parts
together. The promise is at most 60 µs beside a bare grpc.aio call of 380 µs. Rounds of all cases alternate, so that a
noisy minute hits all of them; the empty loop's own time is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

from opentelemetry.sdk.resources import Resource

from gateway.rpc.trailers import trailers_of
from gateway.telemetry import audit
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.calls import CallLog, Calls
from gateway.telemetry.logging import configure_logging
from gateway.telemetry.record import CallRecord
from gateway.telemetry.spans import Spans
from gateway.telemetry.trace_ids import NEVER, Sampler, TraceIds

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
CALLS = 2000
SPANS = Spans(Resource({"service.name": "bench"}))


def a_record() -> CallRecord:
    """The record of a hit, as its steps leave it."""
    record = CallRecord(METHOD, "9f2c1d7ab3f84c0c9d2e5a6b7c8d9e0f", 1.0)
    record.tenant, record.principal, record.face_set = "kyc", "token", "employees"
    record.image_format, record.image_bytes = "jpeg", 102_400
    record.cache_status, record.match_count, record.quota_remaining = "hit", 1, 99
    record.spent("auth", 0.00001)
    record.spent("quota", 0.00002)
    record.spent("cache", 0.00003)
    record.finish(1.0004)
    return record


def spans_of(record: CallRecord) -> None:
    """What a sampled call adds: its spans, made but not sent."""
    list(SPANS.of_call(record, now=1.8e9, monotonic=1000.0))


def cases() -> dict[str, Callable[[], object]]:
    """Each part by name."""
    metrics = CallMetrics([METHOD], ["kyc"])
    silent, tenth = TraceIds(NEVER), TraceIds(Sampler(0.1))
    log = CallLog()
    now = datetime.now(UTC)
    ready = a_record()
    silent.assign(ready, "")
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"

    def nothing(_: CallRecord) -> None:
        pass

    unsampled = Calls(log, metrics, silent, nothing, nothing)
    sampled = Calls(log, metrics, tenth, spans_of, spans_of)

    def whole(calls: Calls) -> None:
        record = a_record()
        trailers_of(record)
        calls.ended(record, "")

    return {
        "record: made and filled by its steps": a_record,
        "trailers": lambda: trailers_of(ready),
        "trace decision, no caller's trace": lambda: tenth.assign(ready, ""),
        "trace decision, caller's trace": lambda: tenth.assign(ready, parent),
        "metrics": lambda: metrics.ended(ready),
        "log line with its audit event": lambda: log.ended(ready),
        "audit event alone": lambda: audit.call_ended(ready, now),
        "spans of one sampled call": lambda: spans_of(ready),
        "ALL, no collector (the default)": lambda: whole(unsampled),
        "ALL, a tenth sampled": lambda: whole(sampled),
    }


def one_round(case: Callable[[], object]) -> float:
    """Processor time of a call in microseconds, the log writer's thread included."""
    started = time.process_time()
    for _ in range(CALLS):
        case()
    spent = time.process_time() - started
    time.sleep(0.06)  # the writer empties its queue: no line is lost, and its time falls to nobody else
    return spent / CALLS * 1e6


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with open(os.devnull, "w") as sink:  # noqa: ASYNC230, PTH123 - opening the null device does not wait
        output = configure_logging("json", sink)
        results: dict[str, list[float]] = {}
        for _ in range(rounds):
            idle = one_round(lambda: None)
            for name, case in cases().items():
                results.setdefault(name, []).append(one_round(case) - idle)
        for name, values in results.items():
            print(f"{name:42} {median(values):6.1f} µs   (least {min(values):.1f})")
        print(f"{'lines lost':42} {output.lines_lost:6}")
        output.close()


if __name__ == "__main__":
    asyncio.run(main())
