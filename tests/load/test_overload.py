"""More calls than the processor can carry: it sheds what it cannot do, with a reason, and does what it can."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.abuse_stage import ATTACKER, HONEST, abuse_stage, long_only, scaled
from tests.support.honest import OWN_CONNECTION, at_pace

TIMES = 5
# Misses fill these on a slow machine too, with the vendor's 64 connections and what waits for them.
FEW_PLACES = {"max_concurrent_rpcs": 100}
VENDOR_CONNECTIONS = 64


@long_only
@pytest.mark.parametrize("image_bytes", [20_000, 100_000])
@pytest.mark.timed
async def test_five_times_the_load_is_shed_with_a_reason(tmp_path: Path, image_bytes: int) -> None:
    """No bare CANCELLED, details with each refusal, health answered, and most of what could be done is done."""
    seconds = scaled(3, 10)
    how = {"image_bytes": image_bytes, "connections": 8, "deadline_seconds": 1.0}
    async with abuse_stage(tmp_path) as stage:
        async with stage.load(HONEST, seconds=scaled(1.5, 5), at_once=8, **how) as first:
            pass
        peak = first.notes["counts"]["OK"] / scaled(1.5, 5)
        async with grpc.aio.insecure_channel(stage.gateway.address, OWN_CONNECTION) as channel:
            health: Any = HealthStub(channel)
            async with stage.load(ATTACKER, TIMES * peak, seconds, **how) as load:
                probes = await at_pace(lambda: health.Check(HealthCheckRequest(), timeout=2), seconds - 0.5, 10)
        counts = load.notes["counts"]
        share = counts.get("OK", 0) / seconds / peak
        stage.keep(
            f"{TIMES} times the load, {image_bytes // 1000} KB",
            load,
            probes,
            f"{counts}; peak {peak:.0f}/s, goodput {share:.2f} of it; the honest ones are health checks",
        )

    # Status 4 is the caller's own deadline, which gRPC's server sees as well.
    # "reset 7" is REFUSED_STREAM: the call was not begun, and gRPC's clients send it again by themselves.
    fine = {"status 4 bare", "reset 7"}
    bare = {end for end in counts if end.endswith("bare") or end.startswith("reset")} - fine
    assert not bare
    assert probes.all_ok
    # How far gRPC's server keeps up is in docs/adr/0013.
    assert probes.percentile(99) < 2.0
    assert share > 0.25


@long_only
async def test_a_slow_vendor_answers_those_who_still_wait(tmp_path: Path) -> None:
    """Twice what a vendor of 300 ms with 64 connections carries, callers with 500 ms: no call is billed in vain."""
    carried, seconds = 64 / 0.3, scaled(4, 15)
    async with abuse_stage(tmp_path, vendor_seconds=0.3) as stage:
        async with stage.load(
            ATTACKER, 2 * carried, seconds, image_bytes=20_000, connections=8, deadline_seconds=0.5
        ) as load:
            pass
        answered = load.notes["counts"].get("OK", 0)
        billed = (await stage.vendor.stats())["received"]
        goodput = answered / (carried * seconds)
        stage.keep(
            "twice a slow vendor's rate, deadline 500 ms",
            load,
            None,
            f"{load.notes['counts']}; goodput {goodput:.2f}, {billed / max(1, answered):.2f} vendor calls per answer",
        )

    assert goodput >= 0.9
    assert billed <= 1.1 * answered


async def test_hits_are_served_while_the_vendor_hangs(tmp_path: Path) -> None:
    """Another tenant's misses wait for the vendor; a tenant that only hits is served all the same."""
    async with abuse_stage(tmp_path, server=FEW_PLACES) as stage, stage.honest(mode="CACHE_MODE_UNSPECIFIED") as caller:
        await stage.vendor.latency(30)
        # A machine of which others take most carries the lower rate too, which fills all places as well.
        async with stage.load(ATTACKER, scaled(300, 1100), image_bytes=20_000, deadline_seconds=5) as load:
            async with asyncio.timeout(30):
                while (await stage.vendor.stats())["in_flight"] < VENDOR_CONNECTIONS:
                    await asyncio.sleep(0.05)
            outcomes = await caller.search_for(scaled(2, 10), per_second=40)
        stage.keep("hits while the vendor hangs", load, outcomes, str(load.notes["counts"]))

    assert outcomes.all_ok


@long_only
async def test_hits_are_served_beside_1100_misses_per_second(tmp_path: Path) -> None:
    """A vendor of 300 ms carries a fifth of them."""
    async with abuse_stage(tmp_path, server=FEW_PLACES) as stage, stage.honest(mode="CACHE_MODE_UNSPECIFIED") as caller:
        await stage.vendor.latency(0.3)
        async with stage.load(ATTACKER, 1100, image_bytes=20_000, deadline_seconds=2) as load:
            outcomes = await caller.search_for(scaled(3, 10), per_second=40)
        stage.keep("hits beside 1,100 misses/s", load, outcomes, str(load.notes["counts"]))

    assert outcomes.all_ok


@long_only
@pytest.mark.timed
async def test_a_tenant_over_its_rate_slows_nobody(tmp_path: Path) -> None:
    """Limited to 200 per second and offering 4,000: others are answered nearly as fast as without it, and it gets its 200."""
    limits = {"limits": {"rate": {"per_second": 200}}}
    async with abuse_stage(tmp_path, attacker=limits) as stage, stage.honest() as caller:
        alone = await caller.search_for(scaled(2, 10), per_second=50)
        async with stage.load(ATTACKER, 4000, image_bytes=20_000, connections=8) as load:
            outcomes = await caller.search_for(scaled(3, 20), per_second=50)
        stage.keep(
            "limited to 200/s, offers 4,000/s",
            load,
            outcomes,
            f"alone p99 {alone.percentile(99) * 1e3:.1f} ms; {load.notes['counts']}",
        )

    assert outcomes.all_ok
    assert load.notes["counts"]["OK"] > 200 * scaled(3, 20) * 0.8
    # The slowest come before the flood is braked. The load's generator takes half a processor of the machine's two.
    assert outcomes.percentile(75) < 1.2 * alone.percentile(99) + 0.04
