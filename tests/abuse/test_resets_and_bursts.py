"""Streams that are opened and reset as fast as possible cost nobody a call, and neither does a good caller's burst."""

from __future__ import annotations

from pathlib import Path

from tests.support.abuse_stage import abuse_stage, scaled
from tests.support.honest import Outcomes


async def test_rapid_resets_cancel_no_honest_call(tmp_path: Path) -> None:
    """Half a megabyte per second from one stranger's connection."""
    async with abuse_stage(tmp_path, vendor_seconds=0.02) as stage, stage.honest() as caller:
        async with stage.attack("floods.rapid_reset", bytes_per_second=500_000) as attack:
            outcomes = await caller.search_for(scaled(3, 15), per_second=50)
        stage.keep("rapid reset, 500 KB/s", attack, outcomes, f"{attack.connections_lost} connections lost")

    assert outcomes.all_ok
    assert stage.grown_mib < 64


async def test_a_burst_on_one_connection_is_answered_whole(tmp_path: Path) -> None:
    """500 calls at once, five times, on a connection that may have 512 (ADR 0013)."""
    total = Outcomes()
    async with abuse_stage(tmp_path, vendor_seconds=0.02) as stage, stage.honest() as caller:
        for _ in range(5):
            burst = await caller.at_once(500)
            total.counts += burst.counts
            total.seconds += burst.seconds
        stage.keep("a good caller's bursts of 500", None, total)

    assert total.all_ok
