"""From the configuration to a working authenticator, with its background fetches and watched files.

The one place of the package that knows the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.auth.authenticator import Authenticator
from gateway.auth.jwks import KeySetInvalid
from gateway.auth.jwks_fetch import fetch_from, open_session
from gateway.auth.jwt import Issuer, JwtVerifier
from gateway.auth.key_sources import FetchedKeys, FileKeys, KeySource
from gateway.auth.tenants import Identity, JwtIdentity, SpiffeIdentity, TenantEntry, Tenants, TokenIdentity
from gateway.clock import Clock
from gateway.config import Config, TenantConfig
from gateway.config.auth import JwtIssuerConfig
from gateway.pace import Pause, off_loop, without_pause
from gateway.watcher import FileRejected, FileWatcher, read_together

TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Auth:
    """The authenticator, and the issuers whose keys are fetched, for readiness and metrics."""

    authenticator: Authenticator
    fetched: tuple[FetchedKeys, ...] = ()

    def problems(self) -> tuple[str, ...]:
        """Which issuers' keys are missing or stale, and why. Those in files are the watcher's to report."""
        return tuple(f"{keys.issuer}: {keys.problem}" for keys in self.fetched if keys.problem is not None)


def tenants_of(config: Config) -> Tenants:
    """The registry of a configuration. Raises `TenantsInvalid`."""
    return registry_of(config.tenants, config.auth.anonymous_tenant)


def registry_of(
    tenants: Sequence[TenantConfig],
    anonymous_tenant: str | None,
    pause: Pause = without_pause,
) -> Tenants:
    """The registry of `tenants`; `pause` is called after each. Raises `TenantsInvalid`."""

    def entries() -> Iterator[TenantEntry]:
        for tenant in tenants:
            yield TenantEntry(tenant.to_tenant(), _identities(tenant))
            pause()

    return Tenants(entries(), anonymous_tenant=anonymous_tenant)


@asynccontextmanager
async def open_auth(config: Config, *, clock: Clock, watcher: FileWatcher) -> AsyncIterator[Auth]:
    """The authenticator of a configuration; fetches keys in the background until it is closed.

    It does not wait for the first keys: a gateway starts with its issuers down. Key files are loaded by the watcher's
    next poll. Tenants that change later come in by `authenticator.replace_tenants(tenants_of(config))`.
    """

    def forget() -> None:
        authenticator.forget_tokens()

    by_url = [issuer for issuer in config.auth.jwt_issuers if issuer.jwks_url is not None]
    async with _fetching(by_url, clock, forget) as fetched:
        from_files = {issuer.issuer: FileKeys() for issuer in config.auth.jwt_issuers if issuer.jwks_url is None}
        sources: dict[str, KeySource] = {**fetched, **from_files}
        issuers = [Issuer(found.issuer, found.audience, sources[found.issuer]) for found in config.auth.jwt_issuers]
        authenticator = Authenticator(
            tenants_of(config),
            jwt=JwtVerifier(issuers, clock=clock),
            trust_domain=config.auth.spiffe_trust_domain,
            clock=clock,
        )
        for issuer in config.auth.jwt_issuers:
            if issuer.jwks_file is not None:
                _watch_keys(watcher, issuer.jwks_file, from_files[issuer.issuer], authenticator)
        yield Auth(authenticator, tuple(fetched.values()))


@asynccontextmanager
async def _fetching(
    issuers: Sequence[JwtIssuerConfig], clock: Clock, on_change: Callable[[], None]
) -> AsyncIterator[dict[str, FetchedKeys]]:
    """The issuers' keys, fetched in the background while the context is open."""
    if not issuers:  # loading the system's certificate authorities takes 40 ms of the start
        yield {}
        return
    async with open_session() as session:
        sources = {
            issuer.issuer: FetchedKeys(
                issuer.issuer, fetch_from(session, issuer.jwks_url or ""), clock=clock, on_change=on_change
            )
            for issuer in issuers
        }
        fetching = asyncio.create_task(_keep_fresh(tuple(sources.values())))
        try:
            yield sources
        finally:
            fetching.cancel()
            await asyncio.wait({fetching})
            for keys in sources.values():
                await keys.aclose()


async def _keep_fresh(sources: Sequence[FetchedKeys]) -> None:
    while True:
        for keys in sources:
            keys.fetch_if_due()
        await asyncio.sleep(TICK_SECONDS)


def _watch_keys(watcher: FileWatcher, path: Path, keys: FileKeys, authenticator: Authenticator) -> None:
    async def reload() -> None:
        contents = await off_loop(partial(read_together, [path]))
        try:
            keys.load(contents[path])
        except KeySetInvalid as error:
            raise FileRejected(path, f"is not usable: {error}") from None
        authenticator.forget_tokens()

    watcher.watch([path], reload, f"auth.jwks_file {path.name}", loaded=False)


def _identities(tenant: TenantConfig) -> tuple[Identity, ...]:
    identities: list[Identity] = []
    for principal in tenant.principals:
        if principal.token_sha256 is not None:
            identities.append(TokenIdentity(bytes.fromhex(principal.token_sha256)))
        elif principal.spiffe_id is not None:
            identities.append(SpiffeIdentity(principal.spiffe_id))
        elif principal.jwt_issuer is not None and principal.jwt_subject is not None:
            identities.append(JwtIdentity(principal.jwt_issuer, principal.jwt_subject))
    return tuple(identities)
