"""`make bench`: the gateway beside a bare gRPC server, in one run on this machine.

Server and load have a core each. Figures are medians of alternating pairs; every call's status is checked by a sample
before and after. Processor time is the server process's own, user and system, from the kernel's accounting.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import CASES
from bench.gateway import STORES, bare, gateway
from bench.load import load_generator
from bench.measure import Result, Sample, measure, measure_memory
from bench.processes import LOAD_CORE, SERVER_CORE


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    names = [*(case.name for case in CASES), "memory", "start"]
    parser = argparse.ArgumentParser("python -m bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--case", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--stores", action="append", choices=STORES, help="only these stores; may be repeated")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="pairs of runs a case (default 5)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="length of a run (default 3)")
    parser.add_argument(
        "--image-bytes", type=int, default=100_000, metavar="N", help="size of a photo (default 100000)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measures and prints; 1 if a part did not start or a call failed."""
    options = _arguments(arguments)
    chosen = set(options.case or [*(case.name for case in CASES), "memory", "start"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report: dict[str, Any] = {"image_bytes": options.image_bytes, "cases": []}
    print(f"server on core {SERVER_CORE}, load on core {LOAD_CORE}, load average {os.getloadavg()[0]:.2f} at the start")
    try:
        with load_generator(options.image_bytes) as load, bare() as reference:
            for stores in options.stores or STORES:
                report["cases"] += _cases(options, chosen, stores, reference, load)
            if "start" in chosen:
                report["start_seconds"] = _start(options.pairs)
            if "memory" in chosen:
                report["memory"] = asdict(memory := measure_memory(load))
                print(
                    f"memory: {memory.idle_mib:.0f} MiB idle, at most {memory.peak_mib:.0f} MiB with 64 calls of 5 MB "
                    f"at once; {memory.failures} of {memory.calls} failed"
                )
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _cases(options: argparse.Namespace, chosen: set[str], stores: str, reference: Any, load: Any) -> list[Any]:
    cases = [case for case in CASES if case.name in chosen]
    if not cases:
        return []
    print(f"\n{stores} stores")
    with gateway(stores) as ours:
        results = []
        for case in cases:
            result = measure(case, reference, ours, load, stores=stores, pairs=options.pairs, seconds=options.seconds)
            print(_line(result), flush=True)
            results.append(result.as_json())
        print(
            f"  resident memory: gateway {ours.process.memory_mib():.0f} MiB, "
            f"bare {reference.process.memory_mib():.0f} MiB"
        )
    return results


def _line(result: Result) -> str:
    if result.skipped:
        return f"  {result.case:20} skipped: {result.skipped}"

    def middle(samples: list[Sample], name: str) -> float:
        return median(float(getattr(sample, name)) for sample in samples)

    target = "no target" if result.target is None else f"target {result.target:.2f}"
    return (
        f"  {result.case:20} {result.ratio(lambda s: s.calls_per_second):5.2f} of bare throughput "
        f"({target}; {middle(result.gateway, 'calls_per_second'):.0f} to "
        f"{middle(result.bare, 'calls_per_second'):.0f} calls/s by {result.tool})\n"
        f"  {'':20} {result.ratio(lambda s: s.cpu_us_per_call):5.2f} of bare processor time "
        f"({middle(result.gateway, 'cpu_us_per_call'):.0f} to {middle(result.bare, 'cpu_us_per_call'):.0f} µs a call)\n"
        f"  {'':20} p50 {middle(result.gateway, 'p50_ms'):.1f} to {middle(result.bare, 'p50_ms'):.1f} ms, "
        f"p99 {middle(result.gateway, 'p99_ms'):.1f} to {middle(result.bare, 'p99_ms'):.1f} ms"
    )


def _start(times: int) -> list[float]:
    seconds = []
    for _ in range(times):
        with gateway("embedded") as ours:
            seconds.append(ours.ready_seconds)
    print(f"\nstart to readiness: {median(seconds):.2f} s, the median of {times}")
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
