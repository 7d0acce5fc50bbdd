"""`facegate health`: one health check, for probes and people."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from gateway.cli.failure import Failure
from gateway.cli.options import Target, address_option, target_from
from gateway.cli.terminal import say

_EXAMPLES = """\b
Examples:
  facegate health
  facegate health --target 127.0.0.1:50051 --service liveness"""


@click.command(name="health", epilog=_EXAMPLES)
@address_option
@click.option("--service", default="", help="The service to ask about, or `liveness`. Default: the whole gateway.")
@click.option("--tls-ca", type=click.Path(path_type=Path), help="Authorities of the gateway's certificate, PEM.")
@click.option("--timeout", default=2.0, show_default=True, type=click.FloatRange(0, 60, min_open=True), help="Seconds.")
def command(target: str, service: str, tls_ca: Path | None, timeout: float) -> None:
    """Ask a gateway whether it serves: exit status 0 if it does, 1 if not."""
    status = asyncio.run(_check(target_from(target, None, tls_ca), service, timeout))
    if status != "SERVING":
        raise Failure(f"{target} is {status}")
    say(status)


async def _check(target: Target, service: str, timeout_seconds: float) -> str:
    from gateway.cli.call_failure import CallFailure
    from gateway.cli.client import connect

    async with connect(target) as client:
        try:
            return await client.health(service, timeout_seconds)
        except CallFailure as failure:
            raise Failure(f"{target.address}: {failure.line()}") from None
