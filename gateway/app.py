"""The composition root: the only place that names concrete parts and puts them together."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.auth.authenticator import Authenticator
from gateway.auth.build import open_auth
from gateway.cache.build import open_cache
from gateway.cache.flights import Flights
from gateway.cache.sharing import SharedSearches
from gateway.clock import Clock, SystemClock
from gateway.config import Config, ConfigError
from gateway.config.server import OpsConfig, ServerConfig
from gateway.config.store_access import quota_access
from gateway.files import RESERVE
from gateway.listener_bounds import bounds_of
from gateway.ops.listener import Readiness, serve_ops
from gateway.ops.status import Replica, StatusReport
from gateway.quota.build import Quota, build_quota
from gateway.reload import RELOAD_SECONDS, ConfigReload
from gateway.rpc.admin import AdminService
from gateway.rpc.build import Chain, build_chain
from gateway.rpc.dispatch import Dispatcher
from gateway.rpc.health import SERVICE as HEALTH
from gateway.rpc.health import Health
from gateway.rpc.open_door import OpenDoor
from gateway.rpc.policy import POLICY
from gateway.rpc.reflection import Reflection
from gateway.rpc.service import FaceSearchService
from gateway.rpc.services import SERVICE_NAMES, SERVICES
from gateway.rpc.tls import BadTlsMaterial, ServerTls
from gateway.search import FaceSearch, Landed
from gateway.server import CannotListen, GrpcServer
from gateway.telemetry import audit
from gateway.telemetry.observed import FileState, Observed
from gateway.telemetry.otel_variables import TelemetryUnusable
from gateway.telemetry.setup import Telemetry, open_telemetry
from gateway.tls import client_context
from gateway.upstream.build import UpstreamUnusable, files_of, open_client
from gateway.upstream.client import UpstreamClient
from gateway.upstream.port import Upstream
from gateway.upstream.timed import Timed
from gateway.watcher import FileRejected, FileWatcher


class StartError(Exception):
    """The gateway cannot start; the message names what is wrong and the remedy."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload found: the groups of files that were loaded again, and what cannot be used, a line each."""

    files: tuple[str, ...]
    problems: tuple[str, ...]


class Gateway:
    """A gateway that serves at `address`, with its operators' listener at `ops_address`."""

    def __init__(
        self,
        config: Config,
        *,
        server: GrpcServer,
        chain: Chain,
        flights: Flights[Landed],
        watcher: FileWatcher,
        address: str,
        ops_address: str,
    ) -> None:
        self.address = address
        self.ops_address = ops_address
        self._config = config
        self._server = server
        self._chain = chain
        self._flights = flights
        self._watcher = watcher
        self._leaving = asyncio.Event()

    def begin_drain(self) -> None:
        """Starts the way out and returns at once; `wait_closed` ends when it is done."""
        self._leaving.set()

    async def reload(self) -> Reloaded:
        """Looks at every watched file now and loads what changed."""
        before = {state.name: state.loaded_at for state in self._watcher.states()}
        # A look that was under way may have come before the change: the second one cannot.
        await self._watcher.poll()
        await self._watcher.poll()
        states = self._watcher.states()
        changed = tuple(state.name for state in states if state.loaded_at != before.get(state.name))
        return Reloaded(changed, self._watcher.problems())

    async def wait_closed(self) -> None:
        """Serves until told to drain; then not ready, then no new calls, then none at all."""
        await self._leaving.wait()
        await self._server.leave(self._config.server.lame_duck_seconds)
        await self._server.stop(self._config.server.drain_seconds, lambda: not self._chain.frame.open_calls)
        await self._flights.drain(self._config.upstream.timeout_seconds)


@asynccontextmanager
async def open_gateway(
    config: Config,
    *,
    config_file: Path | None = None,
    clock: Clock | None = None,
    upstream: Upstream | None = None,
    watcher: FileWatcher | None = None,
) -> AsyncIterator[Gateway]:
    """A serving gateway. Raises `StartError`.

    `config_file` is watched for changes; `clock`, `upstream` and `watcher` stand in for the real ones in tests.
    """
    clock = clock or SystemClock()
    files = audit.FilesAudit()
    watcher = watcher or FileWatcher(clock=clock, listener=lambda state: files.loaded(state.name, state.problem))
    async with AsyncExitStack() as stack:
        stack.enter_context(RESERVE.held())
        telemetry = await _open_telemetry(config, clock, stack)
        auth = await stack.enter_async_context(open_auth(config, clock=clock, watcher=watcher))
        reload = _config_reload(config, config_file, auth.authenticator, telemetry)
        if config_file is not None and reload is not None:
            # Loaded again at the first poll: it may have changed since the caller read it.
            watcher.watch([config_file], reload, "configuration", loaded=False, seconds=RELOAD_SECONDS)
        client: UpstreamClient | None = None
        if upstream is None:
            upstream = client = await _open_upstream(config, clock, watcher, telemetry, stack)
        else:
            upstream = Timed(upstream, telemetry.metrics.upstream_ended, clock)
        try:
            quota = await _open_quota(config, clock, watcher, telemetry, stack)
            asked = telemetry.metrics.store_asked("cache")
            cache = await stack.enter_async_context(open_cache(config, clock=clock, watcher=watcher, asked=asked))
        except ConfigError as error:
            raise StartError(str(error)) from None
        flights: Flights[Landed] = Flights()
        search = FaceSearch(
            usage=quota.usage,
            cache=cache,
            searches=SharedSearches(flights),
            upstream=upstream,
            clock=clock,
        )
        chain = build_chain(
            config.server, authenticator=auth.authenticator, quota=quota, calls=telemetry.calls, clock=clock
        )
        health = Health(SERVICE_NAMES)
        reflection = Reflection((*SERVICE_NAMES, HEALTH)) if config.server.reflection else None
        door = OpenDoor(telemetry.refusals, telemetry.open_calls)
        dispatcher = Dispatcher(
            {
                **FaceSearchService(search, quota.gate, quota.usage, clock).methods(),
                **AdminService(auth.authenticator, quota.usage, cache, clock).methods(),
            },
            SERVICES,
            chain.frame,
            {**health.routes(door), **(reflection.routes(door) if reflection is not None else {})},
        )
        probes = Dispatcher({}, (), chain.frame, health.routes(OpenDoor(telemetry.refusals, telemetry.open_calls)))
        tls = _tls(config.server, auth.authenticator, watcher, clock)
        server = GrpcServer(
            dispatcher, probes, health, reflection, tls=tls, bounds=bounds_of(config.server.max_connections)
        )

        def stores_serving() -> dict[str, bool]:
            return {"quota": not quota.gate.degraded, "cache": cache.available()}

        def credentials_in_force() -> dict[str, bool]:
            rejected = {state.name for state in watcher.states() if state.problem is not None}
            return {one.name: files_of(one.name) not in rejected for one in config.upstream.credentials[:1]}

        def readiness() -> Readiness:
            stores = [f"{name} store: out" for name, serves in stores_serving().items() if not serves]
            return Readiness(health.ready, (*watcher.problems(), *auth.problems(), *stores, *telemetry.problems()))

        telemetry.observe(
            Observed(
                ready=lambda: health.ready,
                calls_in_flight=lambda: chain.capacity.calls,
                body_bytes_in_flight=lambda: chain.room.taken,
                upstream_in_flight=lambda: len(flights),
                upstream_waiting=(lambda: client.waiting) if client is not None else None,
                cache_bytes=lambda: cache.held().bytes,
                cache_entries=lambda: cache.held().records,
                cache_faults=lambda: cache.held().refused,
                stores=stores_serving,
                credentials=credentials_in_force,
                quotas_used=lambda: quota.gate.nearly_used.shares(auth.authenticator.tenants.get),
                certificates=(lambda: tls.expiries) if tls is not None else None,
                files=lambda: [
                    FileState(
                        state.name,
                        clock.now() - state.loaded_at,
                        {str(file): file in state.rejected for file in state.files},
                    )
                    for state in watcher.states()
                ],
            )
        )
        report = StatusReport(
            telemetry,
            lambda: tuple(auth.authenticator.tenants),
            quota.gate.limits,
            clock,
            readiness,
            Replica(socket.gethostname(), lambda: reload.version if reload is not None else config.version),
        )
        await watcher.poll()
        ops_address = await _serve_ops(config.ops, readiness, telemetry, report, clock, stack)
        try:
            address = await server.start(config.server.listen, config.server.health_listen)
        except CannotListen as error:
            raise StartError(str(error)) from None
        stack.push_async_callback(server.stop, 0)
        stack.push_async_callback(_cancel, asyncio.create_task(watcher.run()))
        audit.started(config.version, telemetry.version)
        yield Gateway(
            config,
            server=server,
            chain=chain,
            flights=flights,
            watcher=watcher,
            address=address,
            ops_address=ops_address,
        )


def _config_reload(
    config: Config, file: Path | None, authenticator: Authenticator, telemetry: Telemetry
) -> ConfigReload | None:
    return None if file is None else ConfigReload(file, config, authenticator, telemetry.metrics.know_tenants)


async def _open_telemetry(config: Config, clock: Clock, stack: AsyncExitStack) -> Telemetry:
    telemetry = open_telemetry(
        config.telemetry,
        methods=POLICY.keys(),
        tenants=[tenant.id for tenant in config.tenants],
        clock=clock,
        environ=os.environ,
    )
    try:
        return await stack.enter_async_context(telemetry)
    except TelemetryUnusable as error:
        raise StartError(str(error)) from None


async def _open_quota(
    config: Config, clock: Clock, watcher: FileWatcher, telemetry: Telemetry, stack: AsyncExitStack
) -> Quota:
    access = quota_access(config.stores)
    if access.password.file is not None:
        reload = partial(asyncio.to_thread, access.password.reload)
        watcher.watch([access.password.file], reload, "quota store password")
    try:
        tls = client_context(access.ca_file) if access.url.startswith("valkeys:") else None
    except OSError:
        raise StartError(f"stores.ca_file: {access.ca_file} holds no PEM certificates") from None
    quota = build_quota(
        access.url,
        clock=clock,
        on_store_failure=config.quota.on_store_failure,
        expected_replicas=config.quota.expected_replicas,
        username=access.username,
        password=access.password,
        tls=tls,
        asked=telemetry.metrics.store_asked("quota"),
    )
    await quota.start()
    stack.push_async_callback(quota.aclose)
    return quota


async def _open_upstream(
    config: Config, clock: Clock, watcher: FileWatcher, telemetry: Telemetry, stack: AsyncExitStack
) -> UpstreamClient:
    metrics = telemetry.metrics
    client = open_client(
        config.upstream, clock=clock, watcher=watcher, on_attempt=metrics.upstream_ended, on_wait=metrics.queued
    )
    try:
        return await stack.enter_async_context(client)
    except UpstreamUnusable as error:
        raise StartError(str(error)) from None


def _tls(config: ServerConfig, authenticator: Authenticator, watcher: FileWatcher, clock: Clock) -> ServerTls | None:
    if config.tls.cert_file is None or config.tls.key_file is None:
        return None
    tls = ServerTls(config.tls.cert_file, config.tls.key_file, config.tls.client_ca_file, clock=clock)

    async def reload() -> None:
        try:
            await asyncio.to_thread(tls.reload)
        except BadTlsMaterial as error:
            raise FileRejected(error.file, error.why) from None
        if tls.client_authorities is not None:
            # Connections that are open were verified by the former ones.
            authenticator.trust_authorities(tls.client_authorities)

    watcher.watch(tls.files, reload, "TLS certificate")
    try:
        tls.reload()
    except BadTlsMaterial as error:
        raise StartError(f"server.tls: {error}") from None
    return tls


async def _serve_ops(
    config: OpsConfig,
    readiness: Callable[[], Readiness],
    telemetry: Telemetry,
    report: StatusReport,
    clock: Clock,
    stack: AsyncExitStack,
) -> str:
    serving = serve_ops(
        config.listen,
        readiness,
        clock=clock,
        metrics=telemetry.collect,
        status=report,
        allowed_hosts=config.allowed_hosts,
    )
    try:
        return await stack.enter_async_context(serving)
    except OSError:
        raise StartError(
            f"ops.listen: cannot listen on {config.listen}: it is in use or not an address of this machine"
        ) from None


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
