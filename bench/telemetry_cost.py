"""What telemetry costs a call in processor time, part by part, beside a bare grpc.aio call of the same run.

    python -m bench.telemetry_cost [--rounds N]

Each line is the median of several rounds in microseconds a call, with the other parts off, and what that is of a bare
server's call with a 100 KB image; the last ones are all parts together. The promise is at most 16 %. Rounds of all cases
and of the bare server alternate, so that a noisy minute hits all of them; the empty loop's own time is taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from opentelemetry.sdk.resources import Resource

from bench.cases import CASES
from bench.gateway import Server, bare
from bench.load import Load, load_generator
from gateway.clock import SystemClock
from gateway.rpc.trailers import trailers_of
from gateway.telemetry import audit, catalogue_telemetry
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.calls import CallLog, Calls
from gateway.telemetry.instruments import Counter
from gateway.telemetry.logging import configure_logging
from gateway.telemetry.record import CallRecord
from gateway.telemetry.refusal_kinds import RefusalKind
from gateway.telemetry.refusals import Refusals
from gateway.telemetry.spans import Spans
from gateway.telemetry.trace_ids import NEVER, Sampler, TraceIds

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
CALLS = 2000
# About as many as end within `TELL_SECONDS` under full load.
TOLD_AT_ONCE = 32
SPANS = Spans(Resource({"service.name": "bench"}))


def a_record() -> CallRecord:
    """The record of a hit, as its steps leave it."""
    record = CallRecord(METHOD, "9f2c1d7ab3f84c0c9d2e5a6b7c8d9e0f", 1.0)
    record.tenant, record.principal, record.face_set = "kyc", "token", "employees"
    record.image_format, record.image_bytes = "jpeg", 102_400
    record.cache_status, record.match_count, record.quota_remaining = "hit", 1, 99
    record.spent("auth", 0.0, 0.00001)
    record.spent("quota", 0.0, 0.00002)
    record.spent("cache", 0.0, 0.00003)
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

    faults = Counter(catalogue_telemetry.FAULTS)
    refusals = Refusals(SystemClock())
    unsampled = Calls(log, metrics, refusals, silent, nothing, nothing, faults, [METHOD])
    sampled = Calls(log, metrics, refusals, tenth, spans_of, spans_of, faults, [METHOD])
    ended = itertools.count(1)

    def whole(calls: Calls, refused: str = "") -> None:
        record = a_record()
        record.reason = refused
        trailers_of(record)
        calls.ended(record, "")
        if next(ended) % TOLD_AT_ONCE == 0:
            calls.tell()

    return {
        "record: made and filled by its steps": a_record,
        "trailers": lambda: trailers_of(ready),
        "trace decision, no caller's trace": lambda: tenth.assign(ready, ""),
        "trace decision, caller's trace": lambda: tenth.assign(ready, parent),
        "metrics": lambda: metrics.ended(ready),
        "log line with its audit event": lambda: log.ended(ready),
        "audit event alone": lambda: audit.call_ended(ready, None, now),
        "spans of one sampled call": lambda: spans_of(ready),
        "ALL, no collector (the default)": lambda: whole(unsampled),
        "ALL, a tenth sampled": lambda: whole(sampled),
        "a refusal without a call": lambda: refusals.count(RefusalKind.HEALTH_LIMIT),
        "ALL, of a flood of refused calls": lambda: whole(unsampled, "TENANT_RATE_LIMITED"),
    }


def one_round(case: Callable[[], object]) -> float:
    """Processor time of a call in microseconds, the log writer's thread included."""
    started = time.process_time()
    for _ in range(CALLS):
        case()
    spent = time.process_time() - started
    time.sleep(0.06)  # the writer empties its queue: no line is lost, and its time falls to nobody else
    return spent / CALLS * 1e6


def bare_round(server: Server, load: Load) -> float:
    """Processor time of a bare server's call in microseconds."""
    before = server.process.cpu_seconds()
    load.run(server.target, CASES[0], CALLS)
    return (server.process.cpu_seconds() - before) / CALLS * 1e6


async def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        sink = stack.enter_context(Path(os.devnull).open("w"))  # noqa: ASYNC230 - the null device does not wait
        output = configure_logging("json", sink)
        load, server = stack.enter_context(load_generator(100_000)), stack.enter_context(bare())
        bare_round(server, load)
        times: list[float] = []
        results: dict[str, list[float]] = {}
        for _ in range(rounds):
            times.append(bare_round(server, load))
            idle = one_round(lambda: None)
            for name, case in cases().items():
                results.setdefault(name, []).append(one_round(case) - idle)
        print(f"{'a bare call':42} {median(times):6.1f} µs")
        for name, values in results.items():
            share = median(value / whole for value, whole in zip(values, times, strict=True))
            print(f"{name:42} {median(values):6.1f} µs   {share:6.1%} of it")
        print(f"{'lines lost':42} {output.lines_lost:6}")
        output.close()


if __name__ == "__main__":
    asyncio.run(main())
