"""`facegate health`: one health check, for probes and people."""

from __future__ import annotations

import asyncio

import click

from gateway.cli.failure import Failure
from gateway.cli.options import Target, probe_options
from gateway.cli.terminal import say

_EXAMPLES = """\b
Examples:
  facegate health
  facegate health --target 127.0.0.1:50051 --service liveness"""


@click.command(name="health", epilog=_EXAMPLES)
@probe_options
@click.option("--service", default="", help="The service to ask about, or `liveness`. Default: the whole gateway.")
@click.option("--timeout", default=2.0, show_default=True, type=click.FloatRange(0, 60, min_open=True), help="Seconds.")
def command(where: Target, service: str, timeout: float) -> None:
    """Ask a gateway whether it serves: exit status 0 if it does, 1 if not."""
    status = asyncio.run(_check(where, service, timeout))
    if status != "SERVING":
        raise Failure(f"{where.address} is {status}")
    say(status)


async def _check(target: Target, service: str, timeout_seconds: float) -> str:
    from gateway.cli.call_failure import CallFailure
    from gateway.cli.client import connect

    async with connect(target) as client:
        try:
            return await client.health(service, timeout_seconds)
        except CallFailure as failure:
            raise Failure(f"{target.address}: {failure.line()}") from None
