"""A few kilobytes of gzip that become megabytes: refused before anything is inflated, and kept by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.abuse_stage import abuse_stage, long_only, scaled
from tests.support.valkey import free_port

# What a gateway may need for a few dozen strangers' calls, far below one inflated message per call.
GROWTH_MIB = 32


@pytest.mark.parametrize("listener", ["listen", pytest.param("health_listen", marks=long_only)])
async def test_health_watches_with_long_names_take_no_memory(tmp_path: Path, listener: str) -> None:
    """60 watches, half a megabyte in all; the same at the plaintext listener that serves health alone."""
    health = f"127.0.0.1:{free_port()}"
    async with abuse_stage(tmp_path, server={"health_listen": health}) as stage, stage.honest() as caller:
        at = health if listener == "health_listen" else None
        async with stage.attack("compressed.health_watches", at, calls=60) as attack:
            outcomes = await caller.search_for(scaled(1.5, 10))
        stage.keep(f"health Watch, 7 MiB names as gzip, {listener}", attack, outcomes)

    assert stage.grown_mib < GROWTH_MIB
    assert outcomes.all_ok


async def test_reflection_whose_answers_nobody_reads_takes_no_memory(tmp_path: Path) -> None:
    """Each answer repeats its question."""
    calls = int(scaled(60, 240))
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        async with stage.attack("compressed.unread_reflection", calls=calls, connections=4) as attack:
            outcomes = await caller.search_for(scaled(1.5, 10))
        stage.keep("reflection, 7 MiB as gzip, answers never read", attack, outcomes)

    assert stage.grown_mib < GROWTH_MIB
    assert outcomes.all_ok


@pytest.mark.timed
async def test_compressed_checks_take_no_processor(tmp_path: Path) -> None:
    """300 KB per second, six at a time: honest callers are answered as fast as without them."""
    seconds = scaled(2, 10)
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        alone = await caller.search_for(1)
        async with stage.attack("compressed.health_checks", per_second=45) as attack:
            outcomes = await caller.search_for(seconds)
        stage.keep("6 gzip Checks at a time", attack, outcomes, f"alone p50 {alone.percentile(50) * 1e3:.1f} ms")

    assert stage.grown_mib < GROWTH_MIB
    assert outcomes.all_ok
    assert outcomes.percentile(50) < alone.percentile(50) + scaled(1.0, 0.02)
