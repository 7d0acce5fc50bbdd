"""Hundreds of thousands of calls of every kind: each ends as it should, and the gateway is no larger than it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.auth.tokens import new_token
from tests.support.abuse_stage import HONEST, AbuseStage, abuse_stage, scaled
from tests.support.attack_process import Figures, attacked
from tests.support.callers import holder_of, tenant
from tests.support.meter import resident_mib

WARM_UP_CALLS = int(scaled(200, 30_000))
CALLS = int(scaled(600, 300_000))
# The cache fills up to its own bound, and the allocator keeps some of what calls of other sizes have left.
GROWN_MIB = scaled(60, 20)


async def test_mixed_calls_leave_nothing_behind(tmp_path: Path) -> None:
    """Descriptors, threads and memory after the soak are those after a tenth of it."""
    tokens = {name: new_token() for name in ("good", "limited", "stranger")}
    tenants = [
        tenant(HONEST, holder_of(tokens["good"])),
        tenant("batch", holder_of(tokens["limited"]), limits={"rate": {"per_second": 5}}),
    ]
    # Small, so that it is full long before the end.
    cache = {"max_bytes": 8 << 20}
    async with abuse_stage(tmp_path, tenants=tenants, vendor_seconds=0.002, cache=cache) as stage:
        warm_up = await mixed(stage, WARM_UP_CALLS, tokens)
        before, memory_before = held(stage), resident_mib(stage.gateway.pid)
        load = await mixed(stage, CALLS, tokens)
        after, memory_after = held(stage), resident_mib(stage.gateway.pid)
        stage.keep(
            f"{CALLS:,} mixed calls",
            load,
            None,
            f"{memory_before:.0f} MiB after {WARM_UP_CALLS:,}, {memory_after:.0f} MiB at the end; (descriptors, threads) "
            f"{before} and {after}; {load.notes['counts']}",
        )

    assert sum(load.notes["counts"].values()) == CALLS
    assert not warm_up.notes["wrong"]
    assert not load.notes["wrong"]
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2
    assert memory_after < memory_before + GROWN_MIB


async def mixed(stage: AbuseStage, calls: int, tokens: dict[str, str]) -> Figures:
    """Makes so many calls, and returns once all have ended."""
    async with attacked(
        "tests.support.mixed_calls",
        "mixed",
        stage.gateway.address,
        to_its_end=True,
        within_seconds=1800,
        calls=calls,
        connections=4,
        at_once=16,
        tokens=tokens,
    ) as load:
        pass
    await quiet(stage)
    return load


async def quiet(stage: AbuseStage) -> None:
    """Waits until no call is in flight."""
    async with asyncio.timeout(30):
        while (await stage.metrics())["facegate_calls_in_flight"]:
            await asyncio.sleep(0.1)


def held(stage: AbuseStage) -> tuple[int, int]:
    """How many descriptors and threads the gateway has."""
    own = Path(f"/proc/{stage.gateway.pid}")
    return len(list((own / "fd").iterdir())), len(list((own / "task").iterdir()))
