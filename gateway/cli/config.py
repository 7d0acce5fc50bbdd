"""`facegate config`: check a configuration before it is used, and print its schema."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.failure import Failure
from gateway.cli.terminal import complain, say

if TYPE_CHECKING:
    from gateway.config import Config, TenantConfig

_EXAMPLES = """\b
Examples:
  facegate config check facegate.yaml
  FACEGATE_SERVER__LISTEN=127.0.0.1:0 facegate config check facegate.yaml
  helm template facegate helm/facegate --show-only templates/configmap.yaml |
    yq -r '.data["facegate.yaml"]' | facegate config check --skip-files --strict -"""


@click.group(name="config")
def command() -> None:
    """Check a configuration, or print its schema."""


@command.command(epilog=_EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--strict", is_flag=True, help="Exit with 1 for a warning too.")
@click.option(
    "--skip-files", is_flag=True, help="Leave out the files and variables that FILE names: not on this machine."
)
def check(file: Path, *, strict: bool, skip_files: bool) -> None:
    """Check FILE, the environment and the files that they name; then say what each tenant may do.

    FILE `-` is standard input. Every problem is printed, one per line, as FILE:LINE: KEY: TEXT, and the exit status is 1.
    Warnings are printed likewise, with status 0. The content of the files is never shown.
    """
    from gateway.config import config_warnings

    config = load(Path("/dev/stdin") if file == Path("-") else file, check=not skip_files)
    warnings = list(config_warnings(config, os.environ))
    if strict and warnings:
        raise Failure(*warnings)
    complain(*(f"warning: {warning}" for warning in warnings))
    say(*_explain(config))


@command.command()
def schema() -> None:
    """Print the JSON Schema of a configuration, for editors and pipelines."""
    from gateway.config.docs import json_schema_text

    say(*json_schema_text().splitlines())


def load(file: Path | None, *, check: bool = True) -> Config:
    """The configuration of `file` and the environment; every problem of it is a line of the failure.

    With `check`, the files and variables that it names are looked at too.
    """
    from gateway.config import ConfigError, load_config

    try:
        return load_config(file, check=check)
    except ConfigError as error:
        raise Failure(*error.problems) from None


def _explain(config: Config) -> Iterator[str]:
    server = config.server
    wire = ("mTLS" if server.tls.client_ca_file else "TLS") if server.tls.enabled else "plaintext"
    yield f"the configuration is good (version {config.version})"
    yield f"serves on {server.listen} ({wire}), operators on {config.ops.listen}"
    yield f"searches at {config.upstream.base_url} with {len(config.upstream.credentials)} credential(s)"
    if server.tls.client_ca_file:
        yield "takes connections with a client certificate only, in addition to whatever else a caller shows"
    for tenant in config.tenants:
        yield f"tenant {tenant.id} ({tenant.role})"
        yield f"  proves itself by  {'; '.join(_ways(config, tenant)) or 'nothing: nobody can call as this tenant'}"
        yield f"  may call          {', '.join(_methods(tenant))}"
        yield f"  face sets         {', '.join(tenant.face_sets) or 'none: every search will be refused'}"
        yield f"  limits            {', '.join(_limits(tenant)) or 'none'}"


def _methods(tenant: TenantConfig) -> Iterator[str]:
    """The RPCs of the tenant's role, by the tables that the gateway itself goes by."""
    from gateway.auth.authorizer import PERMISSIONS
    from gateway.model import Role
    from gateway.rpc.policy import POLICY

    for path, permission in POLICY.items():
        if permission in PERMISSIONS[Role(tenant.role)]:
            yield path.rpartition("/")[2]


def _ways(config: Config, tenant: TenantConfig) -> Iterator[str]:
    if config.auth.anonymous_tenant == tenant.id:
        yield "no credentials at all (this machine only)"
    tokens = sum(p.token_sha256 is not None for p in tenant.principals)
    if tokens:
        yield f"{tokens} static token(s)"
    audiences = {issuer.issuer: issuer.audience for issuer in config.auth.jwt_issuers}
    for principal in tenant.principals:
        if principal.jwt_issuer is not None:
            audience = audiences[principal.jwt_issuer]
            yield f"JWT of {principal.jwt_issuer} for {principal.jwt_subject} (audience {audience})"
        if principal.spiffe_id is not None:
            unusable = "" if config.server.tls.client_ca_file else " (unusable until server.tls.client_ca_file is set)"
            yield f"certificate of {principal.spiffe_id}{unusable}"


def _limits(tenant: TenantConfig) -> Iterator[str]:
    limits = tenant.to_tenant().limits
    if limits.rate is not None:
        yield f"{limits.rate.per_second:g} calls a second (burst {limits.rate.burst})"
    if limits.concurrency is not None:
        yield f"{limits.concurrency} calls at once"
    for window, calls in limits.upstream_calls.items():
        yield f"{calls} upstream calls a {window}"
