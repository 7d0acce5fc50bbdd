"""Takes the measurements: alternating pairs of bare server and gateway, so that a noisy minute hits both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.cases import MEMORY_CASE, Case
from bench.gateway import Server, gateway
from bench.load import Load, Run

WARM_UP_CALLS = 400
MEMORY_CALLS = 192
MEMORY_CONCURRENCY = 64


@dataclass(frozen=True)
class Sample:
    """One run against one server."""

    calls_per_second: float
    cpu_us_per_call: float
    p50_ms: float
    p99_ms: float


@dataclass
class Result:
    """A case's pairs; `skipped` says why there are none."""

    case: str
    stores: str
    target: float | None
    tool: str = ""
    skipped: str = ""
    bare: list[Sample] = field(default_factory=list)
    gateway: list[Sample] = field(default_factory=list)

    def ratio(self, figure: Callable[[Sample], float]) -> float:
        """The median of the pairs' own ratios, gateway to bare."""
        return median(figure(ours) / figure(bare) for ours, bare in zip(self.gateway, self.bare, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Everything, with the two ratios that matter."""
        data = asdict(self)
        if self.gateway:
            data["throughput_ratio"] = self.ratio(lambda sample: sample.calls_per_second)
            data["cpu_ratio"] = self.ratio(lambda sample: sample.cpu_us_per_call)
        return data


class NotAnswered(Exception):
    """A server does not end this case's calls as the case says."""


def measure(case: Case, bare: Server, ours: Server, load: Load, *, stores: str, pairs: int, seconds: float) -> Result:
    """`pairs` alternating pairs of about `seconds` each. A case that this gateway cannot do is skipped with the reason."""
    result = Result(case.name, stores, case.targets.get(stores), load.tool(case))
    try:
        _check(load, ours, case)
    except NotAnswered as error:
        result.skipped = str(error)
        return result
    rates = {server.target: _warm_up(load, server, case) for server in (bare, ours)}
    for pair in range(pairs):
        order = ((bare, result.bare), (ours, result.gateway))
        for server, samples in order if pair % 2 == 0 else reversed(order):
            samples.append(_sample(load, server, case, int(rates[server.target] * seconds)))
    _check(load, ours, case)
    return result


def _check(load: Load, server: Server, case: Case) -> None:
    load.sample(server.target, case, calls=2)  # fills the cache, or uses up the rate
    run = load.sample(server.target, case)
    if set(run.codes) != {case.code}:
        raise NotAnswered(f"calls end with {', '.join(sorted(run.codes))}, not {case.code}")
    if case.cache is not None and set(run.cache) != {case.cache}:
        raise NotAnswered(f"answers say {', '.join(sorted(run.cache))}, not {case.cache}")


def _warm_up(load: Load, server: Server, case: Case) -> float:
    load.run(server.target, case, WARM_UP_CALLS)
    run = load.run(server.target, case, WARM_UP_CALLS)
    return run.calls / run.seconds


def _sample(load: Load, server: Server, case: Case, calls: int) -> Sample:
    before = server.process.cpu_seconds()
    run = load.run(server.target, case, calls)
    spent = server.process.cpu_seconds() - before
    return Sample(run.calls / run.seconds, spent / run.calls * 1e6, run.p50_ms, run.p99_ms)


@dataclass(frozen=True)
class Memory:
    """Resident memory in MiB, and what became of the large calls."""

    idle_mib: float
    peak_mib: float
    calls: int
    failures: int
    p99_ms: float


def measure_memory(load: Load) -> Memory:
    """64 calls of 5 MB at once, three times over, at a gateway that was just started."""
    with gateway("embedded") as fresh:
        idle = fresh.process.memory_mib()
        run: Run = load.sample(fresh.target, MEMORY_CASE, calls=MEMORY_CALLS, concurrency=MEMORY_CONCURRENCY)
        peak = fresh.process.memory_mib(peak=True)
    return Memory(idle, peak, run.calls, run.calls - run.codes.get("OK", 0), run.p99_ms)
