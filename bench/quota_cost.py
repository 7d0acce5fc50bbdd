"""What quotas cost a call, in processor time of this process: `python -m bench.quota_cost [--store URL] [--tasks N]`.

One call is rate + concurrency admitted, three windows reserved, settled, released. On a store URL a server must run
there; its own processor time is not counted. Prints the median of several rounds, each beside an empty coroutine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import uvloop

from gateway.clock import SystemClock
from gateway.model import Limits, RateLimit, Tenant, Window
from gateway.quota.build import build_quota
from gateway.quota.gate import QuotaGate

_ROUNDS = 9
_LIMITS = Limits(
    rate=RateLimit(per_second=8_000_000, burst=8_000_000),
    concurrency=100_000,
    upstream_calls={Window.MINUTE: 10**12, Window.DAY: 10**12, Window.MONTH: 10**12},
)


async def _calls(gate: QuotaGate, tenant: Tenant, count: int) -> None:
    for _ in range(count):
        gate.refused_until(tenant)
        admission = await gate.admit(tenant)
        reservation = await admission.reserve()
        reservation.settle()
        admission.release()


async def _hits(gate: QuotaGate, tenant: Tenant, count: int) -> None:
    for _ in range(count):
        gate.refused_until(tenant)
        admission = await gate.admit(tenant)
        admission.release()


async def _empty(gate: QuotaGate, tenant: Tenant, count: int) -> None:
    async def nothing() -> None:
        pass

    for _ in range(count):
        await nothing()
        await nothing()


async def _measure(url: str, tasks: int, count: int) -> None:
    quota = build_quota(url, clock=SystemClock(), prefix="bench:")
    await quota.start()
    tenant = Tenant("bench", limits=_LIMITS)
    for name, work in (("empty", _empty), ("hit: admit, release", _hits), ("miss: and reserve, settle", _calls)):
        figures = []
        for _ in range(_ROUNDS):
            began, processor = time.perf_counter(), time.process_time()
            await asyncio.gather(*(work(quota.gate, tenant, count // tasks) for _ in range(tasks)))
            spent, wall = time.process_time() - processor, time.perf_counter() - began
            figures.append((spent / count * 1e6, wall / count * 1e6 * tasks))
        processor_us, latency_us = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:28} {processor_us:8.2f} us processor  {latency_us:8.1f} us latency")
    if quota.gate.degraded:
        print("the store was out: these are no figures")
    await quota.aclose()


def main() -> None:
    """Measures the store that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="memory://")
    parser.add_argument("--tasks", type=int, default=1, help="calls at once")
    parser.add_argument("--count", type=int, default=20_000, help="calls a round")
    options = parser.parse_args()
    uvloop.run(_measure(options.store, options.tasks, options.count))


if __name__ == "__main__":
    main()
