"""What a configuration that is good may still be wrong about: a line each, with what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from gateway.config.environment import ignored_variables
from gateway.config.loading import all_keys
from gateway.config.schema import Config


def config_warnings(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """The warnings for `config`, loaded under `environ`. Each begins with the key that it is about, if it has one."""
    ignored = unused_variables(config, environ)
    if ignored:
        yield f"{', '.join(ignored)}: no setting, so ignored (a setting is written FACEGATE_SERVER__LISTEN)"
    yield from _of_tenants(config)
    path = urlsplit(config.upstream.base_url).path
    if path:
        yield (
            f"upstream.base_url: searches go to {config.upstream.base_url}/faceset/...: "
            f"right if a proxy takes {path} away, else write the host alone"
        )
    if config.quota.expected_replicas > 1 and config.stores.quota == "memory://":
        yield (
            f"stores.quota: {config.quota.expected_replicas} replicas (quota.expected_replicas) do not share counts in "
            "memory, and each grants the whole limit: name a store, such as valkey://HOST:6379/0"
        )


def unused_variables(config: Config, environ: Mapping[str, str]) -> list[str]:
    """Names of variables with the prefix of settings that are no settings."""
    named = {
        name
        for credential in config.upstream.credentials
        for name in (credential.api_id_env, credential.api_secret_env)
        if name is not None
    }
    return ignored_variables(environ, named, all_keys())


def _of_tenants(config: Config) -> Iterator[str]:
    if not config.tenants:
        yield "tenants: is empty, so every call is refused: add one, such as `- id: kyc`"
    for index, tenant in enumerate(config.tenants):
        path = f"tenants.{index} ({tenant.id})"
        if not tenant.principals and config.auth.anonymous_tenant != tenant.id:
            yield f"{path}: nobody can call as this tenant: add principals, such as one of `facegate token new {tenant.id}`"
        if not tenant.face_sets and tenant.role == "caller":
            yield f"{path}: every search is refused: add face_sets, such as `face_sets: {{employees: employees-prod}}`"
        if any(p.spiffe_id for p in tenant.principals) and config.server.tls.client_ca_file is None:
            yield f"{path}: its SPIFFE ids cannot be shown: set server.tls.client_ca_file"
