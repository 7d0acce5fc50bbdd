"""From the configuration to a client of the vendor, with its secrets watched.

The one place of the package that knows the configuration.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import structlog

from gateway.clock import Clock
from gateway.config.upstream import CredentialConfig, ProxyConfig, UpstreamConfig
from gateway.tls import client_context
from gateway.upstream.client import UpstreamClient, open_upstream
from gateway.upstream.credentials import CredentialError, CredentialOrigin, CredentialSource
from gateway.upstream.proxy import Proxy
from gateway.upstream.proxy_login import LoginError, ProxyLogin
from gateway.upstream.timed import OnAttempt
from gateway.watcher import FileRejected, FileWatcher

_PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy", "grpc_proxy")

log = structlog.get_logger(__name__)


class UpstreamUnusable(Exception):
    """Settings that give no client; the message names the key and the remedy."""


@asynccontextmanager
async def open_client(
    config: UpstreamConfig,
    *,
    clock: Clock,
    watcher: FileWatcher,
    on_attempt: OnAttempt,
    on_wait: Callable[[float], None],
) -> AsyncIterator[UpstreamClient]:
    """The client that the settings describe; listeners as for `open_upstream`. Raises `UpstreamUnusable`."""
    if not config.credentials:
        raise UpstreamUnusable("upstream.credentials is empty: name the files of the vendor's API id and secret")
    credentials = _credentials(config.credentials[0], watcher)
    proxy = _proxy(config.proxy, watcher)
    _report_ignored_variables(config.proxy)
    client = open_upstream(
        base_url=config.base_url,
        credentials=credentials,
        clock=clock,
        timeout_seconds=config.timeout_seconds,
        max_connections=config.max_connections,
        keep_alive=config.keep_alive,
        allow_private_addresses=config.allow_private_addresses,
        proxy=proxy,
        ca_file=config.ca_file,
        image_encoding=config.image_encoding,
        no_result=config.no_result,
        on_attempt=on_attempt,
        on_wait=on_wait,
    )
    async with AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(client)
        except OSError:
            raise UpstreamUnusable(f"upstream.ca_file: {config.ca_file} holds no PEM certificates") from None
        yield opened


def files_of(credential: str) -> str:
    """What the watcher calls the files of a pair."""
    return f"upstream credential {credential}"


def _credentials(config: CredentialConfig, watcher: FileWatcher) -> CredentialSource:
    origin = CredentialOrigin(
        config.name, config.api_id_file, config.api_secret_file, config.api_id_env, config.api_secret_env
    )
    files = [file for file in (config.api_id_file, config.api_secret_file) if file is not None]

    async def reload() -> None:
        try:
            await asyncio.to_thread(credentials.reload)
        except CredentialError as error:
            raise FileRejected(error.file or files[0], f"is not usable: {error}") from None

    if files:
        watcher.watch(files, reload, files_of(config.name))
    try:
        credentials = CredentialSource.open(origin, os.environ)
    except CredentialError as error:
        raise UpstreamUnusable(str(error)) from None
    return credentials


def _proxy(config: ProxyConfig, watcher: FileWatcher) -> Proxy | None:
    if config.url is None:
        return None
    url = urlsplit(config.url)
    assert url.hostname is not None and url.port is not None, "config/values.py requires both"
    try:
        tls = client_context(config.ca_file, alpn=("http/1.1",)) if url.scheme == "https" else None
    except OSError:
        raise UpstreamUnusable(f"upstream.proxy.ca_file: {config.ca_file} holds no PEM certificates") from None
    file = config.credentials_file
    if file is None:
        return Proxy(url.hostname, url.port, tls)
    try:
        login = ProxyLogin(file)
    except LoginError as error:
        raise UpstreamUnusable(str(error)) from None

    async def reload() -> None:
        try:
            await asyncio.to_thread(login.reload)
        except LoginError as error:
            raise FileRejected(file, f"is not usable: {error}") from None

    watcher.watch([file], reload, "upstream proxy credentials")
    return Proxy(url.hostname, url.port, tls, login)


def _report_ignored_variables(config: ProxyConfig) -> None:
    """Says so if the environment names a proxy: nobody should believe that it is followed."""
    ignored = sorted(name for name in os.environ if name.lower() in _PROXY_VARIABLES)
    if ignored and config.url is None:
        problem = "no connection of the gateway follows them: if a proxy leads to the vendor, set upstream.proxy.url"
        log.warning("upstream.proxy_variables_ignored", variables=ignored, problem=problem)
