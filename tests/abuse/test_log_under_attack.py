"""Strangers cannot write the log: their refusals are sampled and summed, and no honest line is lost for them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests.support.abuse_stage import HONEST, abuse_stage, scaled
from tests.support.conditions import eventually
from tests.support.gateway_process import Run

# A log shipper of modest speed.
SHIPPED_BYTES_PER_SECOND = 1_300_000


async def test_refusals_of_strangers_displace_no_audit(tmp_path: Path) -> None:
    """Behind a slow shipper each honest search has its audit line, and refusals cost less log than they took bytes."""
    run = Run(log_bytes_per_second=SHIPPED_BYTES_PER_SECOND, kill=True)
    async with abuse_stage(tmp_path, run=run) as stage, stage.honest() as caller:

        def lines(event: str) -> list[str]:
            return [
                line["request_id"]
                for line in stage.gateway.lines()
                if line["event"] == event and HONEST in line.values()
            ]

        async with stage.attack("floods.refused", connections=4, in_flight=48) as attack:
            outcomes = await caller.search_for(scaled(3, 12), per_second=40)
        answered = outcomes.counts["OK"] + 1
        # What is not there by then is lost; how much that is, the assertion below says.
        with contextlib.suppress(AssertionError):
            await eventually(lambda: len(set(lines("audit.search"))) >= answered, "each search has its line")
        audited = len(set(lines("audit.search")))
        written = sum(len(piece) for piece in stage.gateway.log)
        stage.keep(
            "strangers' refusals: log lines",
            attack,
            outcomes,
            f"{written / attack.sent:.1f} log bytes per byte sent, {audited} of {answered} honest audit lines",
        )

    assert audited == answered
    # The honest calls' own lines, about 1 KB per call, are not the strangers'.
    assert written - 1200 * answered < attack.sent
