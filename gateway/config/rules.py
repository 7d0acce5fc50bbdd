"""Rules between settings of different sections, one function each.

A rule names the settings that it reads; it is skipped while one of them has a problem of its own. It yields pairs of the
key to mend and what is wrong with it, and calls `pause` once per tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gateway.config.schema import Config
from gateway.config.values import is_loopback, split_address
from gateway.pace import Pause

Problems = Iterator[tuple[str, str]]


class Rule(NamedTuple):
    """A rule and the settings that it reads, as dotted prefixes."""

    reads: tuple[str, ...]
    check: Callable[[Config, Pause], Problems]


def public_listener_is_encrypted(config: Config, _pause: Pause) -> Problems:
    """Tokens and images never cross a network in plaintext by accident."""
    server = config.server
    if not (is_loopback(split_address(server.listen)[0]) or server.tls.enabled or server.insecure):
        remedy = "set server.tls.cert_file and key_file, or server.insecure: true where a mesh encrypts"
        yield "server.listen", f"{server.listen} is reachable by other machines without TLS: {remedy}"


def listeners_are_distinct(config: Config, _pause: Pause) -> Problems:
    """Each listener has an address of its own."""
    taken = {config.server.listen: "server.listen"}
    for key, address in (
        ("server.health_listen", config.server.health_listen),
        ("ops.listen", config.ops.listen),
    ):
        if address is None or split_address(address)[1] == 0:
            continue
        if address in taken:
            yield (
                key,
                f"{address} is the address of {taken[address]} too: choose another port",
            )
        taken[address] = key


def anonymous_tenant_is_local(config: Config, _pause: Pause) -> Problems:
    """Calls without credentials are taken from this machine alone, for a tenant that is configured."""
    tenant = config.auth.anonymous_tenant
    if tenant is None:
        return
    if not is_loopback(split_address(config.server.listen)[0]):
        yield (
            "auth.anonymous_tenant",
            "is allowed only while server.listen is a loopback address: remove one of them",
        )


def anonymous_tenant_exists(config: Config, _pause: Pause) -> Problems:
    """A tenant is never made up: it would have no face sets, and a typing error would go unnoticed."""
    tenant = config.auth.anonymous_tenant
    if tenant is not None and tenant not in {t.id for t in config.tenants}:
        yield (
            "auth.anonymous_tenant",
            "is not the id of a tenant: add it to tenants",
        )


def tenants_are_unique(config: Config, pause: Pause) -> Problems:
    """A tenant's id is its identity in quotas and in the cache."""
    first: dict[str, int] = {}
    for index, tenant in enumerate(config.tenants):
        pause()
        if first.setdefault(tenant.id, index) != index:
            yield (
                f"tenants.{index}.id",
                f'"{tenant.id}" is the id of tenants.{first[tenant.id]} too: rename one',
            )


def principals_are_unique(config: Config, pause: Pause) -> Problems:
    """A credential names one tenant."""
    first: dict[tuple[str | None, ...], str] = {}
    for t, tenant in enumerate(config.tenants):
        pause()
        for p, principal in enumerate(tenant.principals):
            path = f"tenants.{t}.principals.{p}"
            key = (
                principal.token_sha256,
                principal.jwt_issuer,
                principal.jwt_subject,
                principal.spiffe_id,
            )
            if first.setdefault(key, path) != path:
                yield (
                    path,
                    f"is the principal of {first[key]} too: a credential belongs to one tenant, once",
                )


def jwt_issuers_are_configured(config: Config, pause: Pause) -> Problems:
    """A JWT principal is of an issuer whose keys are known."""
    issuers = {issuer.issuer for issuer in config.auth.jwt_issuers}
    for t, tenant in enumerate(config.tenants):
        pause()
        for p, principal in enumerate(tenant.principals):
            if principal.jwt_issuer is not None and principal.jwt_issuer not in issuers:
                yield (
                    f"tenants.{t}.principals.{p}.jwt_issuer",
                    "is not configured: add it to auth.jwt_issuers with its audience and keys",
                )


def jwt_issuers_are_unique(config: Config, _pause: Pause) -> Problems:
    """One entry says how an issuer's tokens are verified."""
    first: dict[str, int] = {}
    for index, issuer in enumerate(config.auth.jwt_issuers):
        if first.setdefault(issuer.issuer, index) != index:
            yield (
                f"auth.jwt_issuers.{index}.issuer",
                f"is that of auth.jwt_issuers.{first[issuer.issuer]} too",
            )


def spiffe_ids_are_in_the_trust_domain(config: Config, pause: Pause) -> Problems:
    """A principal of a foreign trust domain could never call."""
    domain = config.auth.spiffe_trust_domain
    for t, tenant in enumerate(config.tenants):
        pause()
        for p, principal in enumerate(tenant.principals):
            foreign = domain is not None and not (principal.spiffe_id or f"spiffe://{domain}/").startswith(
                f"spiffe://{domain}/"
            )
            if foreign:
                yield (
                    f"tenants.{t}.principals.{p}.spiffe_id",
                    f"is outside auth.spiffe_trust_domain ({domain})",
                )


def credentials_are_unique(config: Config, _pause: Pause) -> Problems:
    """Logs, metrics and the status page tell credentials apart by name."""
    first: dict[str, int] = {}
    for index, credential in enumerate(config.upstream.credentials):
        if first.setdefault(credential.name, index) != index:
            yield (
                f"upstream.credentials.{index}.name",
                f'"{credential.name}" is taken: rename one',
            )


RULES = (
    Rule(("server.listen", "server.tls", "server.insecure"), public_listener_is_encrypted),
    Rule(("server.listen", "server.health_listen", "ops.listen"), listeners_are_distinct),
    Rule(("auth.anonymous_tenant", "server.listen"), anonymous_tenant_is_local),
    Rule(("auth.anonymous_tenant", "tenants"), anonymous_tenant_exists),
    Rule(("tenants",), tenants_are_unique),
    Rule(("tenants",), principals_are_unique),
    Rule(("tenants", "auth.jwt_issuers"), jwt_issuers_are_configured),
    Rule(("auth.jwt_issuers",), jwt_issuers_are_unique),
    Rule(("tenants", "auth.spiffe_trust_domain"), spiffe_ids_are_in_the_trust_domain),
    Rule(("upstream.credentials",), credentials_are_unique),
)
