"""`facegate token new`: a token for callers, and the digest that the configuration holds instead of it."""

from __future__ import annotations

import click

_EXAMPLES = """\b
Example:
  facegate token new kyc"""


@click.group(name="token")
def command() -> None:
    """Make a token for a tenant's callers."""


@command.command(name="new", epilog=_EXAMPLES)
@click.argument("tenant")
def new(tenant: str) -> None:
    """Make a token of 256 random bits for TENANT and print it, once, with what to configure.

    The gateway keeps its SHA-256 alone; whoever has the token calls as TENANT.
    """
    from gateway.auth.tokens import new_token, token_digest
    from gateway.config.values import TENANT_ID

    if not TENANT_ID.fullmatch(tenant):
        raise click.BadParameter(
            f"{tenant!r} is not a tenant's id, which is 1 to 63 of a-z 0-9 _ -, and does not start with _ or -.",
            param_hint="'TENANT'",
        )
    token = new_token()
    click.echo("# The token. It is shown this once: put it where the caller's secrets are kept.")
    click.echo(token)
    click.echo("\n# For the gateway's configuration:")
    click.echo(f"tenants:\n  - id: {tenant}\n    principals:\n      - {{token_sha256: {token_digest(token).hex()}}}")
