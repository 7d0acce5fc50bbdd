"""A client that gives up its calls and sends others in their place, without a pause, keeps its own streams busy."""

from __future__ import annotations

from pathlib import Path

from tests.support.abuse_stage import ATTACKER, abuse_stage, scaled


async def test_calls_that_are_given_up_keep_their_streams(tmp_path: Path) -> None:
    """gRPC refuses most of the flood, since the connection has no more streams; Python never sees it."""
    async with abuse_stage(tmp_path, vendor_seconds=0.5) as stage, stage.honest() as caller:
        async with stage.load(
            ATTACKER, 6000, scaled(3, 10), image_bytes=20_000, connections=1, deadline_seconds=0.02, distinct=False
        ) as load:
            outcomes = await caller.search_for(scaled(2, 9), per_second=20)
        seen = sum(
            value
            for name, value in (await stage.metrics()).items()
            if name.startswith("rpc_server_call_duration_seconds_count") and "CANCELLED" in name
        )
        stage.keep("given up after 20 ms, 6,000/s", load, outcomes, f"{load.notes['counts']}; {seen:.0f} seen")

    assert outcomes.all_ok
    assert load.notes["counts"]["reset 7"]
    assert seen < 0.4 * load.notes["offered"]
