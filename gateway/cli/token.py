"""`facegate token new`: a token for callers, and the digest that the configuration holds instead of it."""

from __future__ import annotations

import click

from gateway.cli.terminal import say

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
    say("# The token. It is shown this once: put it where the caller's secrets are kept.")
    say(token)
    say("", "# For the gateway's configuration:", "tenants:", f"  - id: {tenant}", "    principals:")
    say(f"      - {{token_sha256: {token_digest(token).hex()}}}")
