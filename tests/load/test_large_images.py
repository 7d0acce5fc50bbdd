"""More large images than the gateway can carry, in a container with the chart's memory: it sheds, and is not killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.abuse_stage import ATTACKER, abuse_stage, long_only, scaled
from tests.support.gateway_process import Run
from tests.support.memory_cgroup import memory_cgroup

LIMIT_BYTES = 1 << 30

LOADS = [
    pytest.param(2_000_000, 320, 16, id="2 MB, 320 per second"),
    pytest.param(2_000_000, 640, 16, id="2 MB, 640 per second", marks=long_only),
    pytest.param(5_000_000, 100, 16, id="5 MB, 16 connections", marks=long_only),
    pytest.param(100_000, 5000, 4, id="100 KB, 5,000 per second", marks=long_only),
]


@pytest.mark.parametrize(("image_bytes", "per_second", "connections"), LOADS)
async def test_large_images_end_in_no_kill(tmp_path: Path, image_bytes: int, per_second: int, connections: int) -> None:
    """The vendor takes 50 ms; callers wait 3 s. What cannot be carried is refused, the rest is answered."""
    with memory_cgroup(LIMIT_BYTES) as group:
        async with abuse_stage(tmp_path, vendor_seconds=0.05, run=Run(before=group.enter, kill=True)) as stage:
            async with stage.load(
                ATTACKER,
                per_second,
                scaled(4, 15),
                image_bytes=image_bytes,
                connections=connections,
                deadline_seconds=3,
                distinct=image_bytes < 1_000_000,
            ) as load:
                pass
            killed, peak = group.kills(), group.peak_mib()
            # A process that was killed reports no peak of its own.
            stage.meter.peak_mib = peak
            stage.keep(
                f"{image_bytes / 1e6:g} MB at {per_second}/s, {connections} connections",
                load,
                None,
                f"{load.notes}; cgroup peak {peak:.0f} MiB, kills {killed}",
            )
            ready = await stage.ready() if not killed else 0

    assert killed == 0
    assert ready == 200
    assert load.notes["counts"]["OK"] > 0
