"""`facegate purge`: make cached answers dead, on every replica."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from gateway.cli.options import Target, target_options
from gateway.cli.terminal import say

_EXAMPLES = """\b
Examples:
  facegate purge --tenant kyc --face-set employees --token-file operator-token
  facegate purge --all --token-file operator-token"""


@click.command(name="purge", epilog=_EXAMPLES)
@target_options
@click.option("--all", "everything", is_flag=True, help="Every cached answer of every tenant.")
@click.option("--tenant", help="Every cached answer of a tenant, by its id.")
@click.option("--face-set", help="Of that tenant, only the answers of this face set (its alias).")
def command(
    where: Target,
    tenant: str | None,
    face_set: str | None,
    *,
    everything: bool,
) -> None:
    """Make every cached answer of a scope dead, on every replica within 2 s. Needs the role operator."""
    if everything == (tenant is not None):
        raise click.UsageError("choose a scope: --all, or --tenant with or without --face-set")
    if face_set is not None and tenant is None:
        raise click.UsageError("--face-set needs --tenant")
    reply = asyncio.run(_purge(where, tenant, face_set))
    scope = "everything" if everything else f"tenant {tenant}" + (f", face set {face_set}" if face_set else "")
    say(f"purged {scope}: epoch {reply.epoch} is in force")


async def _purge(target: Target, tenant: str | None, face_set: str | None) -> Any:
    from gateway.cli.client import connect
    from gateway.cli.messages import purge_request

    async with connect(target) as client:
        return await client.purge(purge_request(tenant, face_set), timeout_seconds=10)
