"""`facegate quota`: what the caller may still do."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from gateway.cli.options import Target, target_options
from gateway.cli.terminal import say

_EXAMPLES = """\b
Examples:
  facegate quota --target gateway:50051 --token-file token --tls-ca ca.pem
  facegate quota --json"""


@click.command(name="quota", epilog=_EXAMPLES)
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
def command(where: Target, *, as_json: bool) -> None:
    """Show the limits of the calling tenant and what is left of them. Costs nothing."""
    reply = asyncio.run(_ask(where))
    if as_json:
        from gateway.cli.messages import as_json_text

        say(as_json_text(reply))
        return
    from gateway.cli.output import Bar, clock_time, print_table

    estimate = " (an estimate: the quota store is out)" if reply.degraded else ""
    say(f"tenant {reply.tenant}{estimate}; face sets: {', '.join(reply.face_sets) or 'none'}")
    if not reply.limits:
        say("no limits")
        return
    rows = [
        (
            limit.id,
            Bar(limit.used, limit.limit),
            str(limit.used),
            str(limit.limit),
            str(limit.remaining),
            clock_time(limit.reset_time.seconds) if limit.HasField("reset_time") else "",
        )
        for limit in reply.limits
    ]
    print_table(("limit", "", "used", "of", "remaining", "full again"), rows, numbers=("used", "of", "remaining"))


async def _ask(target: Target) -> Any:
    from gateway.cli.client import connect
    from gateway.cli.messages import quota_request

    async with connect(target) as client:
        return await client.quota(quota_request(), timeout_seconds=10)
