"""Gateways with a fault each: the causes of the alerts, for real.

A scenario opens a gateway that is well and yields its operators' address and what causes the fault from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb

from gateway.clock import SystemClock
from gateway.watcher import FileWatcher
from tests.support.callers import holder_of, tenant, tls_settings
from tests.support.gateway import config_of, running
from tests.support.pki import Authority
from tests.support.replicas import key_file
from tests.support.traffic import called, search
from tests.support.upstream import FakeUpstream
from tests.support.valkey import StoreServer, free_port, running_store
from tests.support.vendor import OK, Connection, Vendor, always, json_response, response, upstream_of

Begin = Callable[[], Awaitable[None]]
Scenario = Callable[[Path], Any]


async def nothing() -> None:
    """The fault is there from the start, or there is none."""


@asynccontextmanager
async def calm(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """Hits, searches at the vendor, a call now and then that is its caller's fault."""
    async with running(config_of(), upstream=FakeUpstream()) as gateway, called(gateway) as traffic:
        traffic.start(lambda: search(traffic.stub, pb.CACHE_MODE_READ_WRITE))
        traffic.start(lambda: search(traffic.stub))
        traffic.start(lambda: search(traffic.stub, face_set="nobodys"), pause=1)
        traffic.start(lambda: search(traffic.stub, max_results=99), pause=1)
        yield gateway.ops_address, nothing


@asynccontextmanager
async def gone(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """Nobody listens any more where a replica was."""
    async with running(config_of(), upstream=FakeUpstream()) as gateway:
        pass
    yield gateway.ops_address, nothing


@asynccontextmanager
async def leaving(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """A replica that drains and does not come to its end."""
    async with running(config_of(server={"lame_duck_seconds": 300}), upstream=FakeUpstream()) as gateway:
        closing = asyncio.create_task(gateway.wait_closed())

        async def begin() -> None:
            gateway.begin_drain()

        yield gateway.ops_address, begin
        closing.cancel()
        await asyncio.wait([closing])


def vendor_that(answers: Callable[[], bytes], *, waits: float = 0, lanes: int = 1) -> Scenario:
    """A vendor that answers well, and from a moment on so."""

    @asynccontextmanager
    async def scenario(folder: Path) -> AsyncIterator[tuple[str, Begin]]:
        begun = asyncio.Event()

        async def behave(connection: Connection) -> None:
            while True:
                await connection.request()
                if begun.is_set():
                    await asyncio.sleep(waits)
                await connection.send(answers() if begun.is_set() else OK)

        async with AsyncExitStack() as stack:
            vendor = await stack.enter_async_context(Vendor(behave))
            gateway = await stack.enter_async_context(running(config_of(upstream=upstream_of(vendor, folder))))
            traffic = await stack.enter_async_context(called(gateway))
            traffic.start(lambda: search(traffic.stub), lanes=lanes)

            async def begin() -> None:
                begun.set()

            yield gateway.ops_address, begin

    return scenario


def once(answer: bytes) -> Callable[[], bytes]:
    """This answer the first time, and good ones again."""
    left = [answer]
    return lambda: left.pop() if left else OK


def refusal_by(code: int, status: str) -> Callable[[], bytes]:
    """One answer with this status of the vendor's page."""
    return once(json_response(code, {"status": status, "reason": "", "request_id": ""}))


@asynccontextmanager
async def bug(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """One call among many meets an exception that the gateway does not know."""
    upstream = FakeUpstream()
    good = upstream.answer
    async with running(config_of(), upstream=upstream) as gateway, called(gateway) as traffic:
        traffic.start(lambda: search(traffic.stub))

        async def begin() -> None:
            upstream.answer = RuntimeError("a bug")
            with suppress(grpc.aio.AioRpcError):
                await search(traffic.stub)
            upstream.answer = good

        yield gateway.ops_address, begin


@asynccontextmanager
async def stores_out(folder: Path) -> AsyncIterator[tuple[str, Begin]]:
    """The server of both stores is killed."""
    with running_store() as store:
        stores = {"quota": store.url, "cache": store.url, "key_file": key_file(folder)}
        async with running(config_of(stores=stores), upstream=FakeUpstream()) as gateway, called(gateway) as traffic:
            traffic.start(lambda: search(traffic.stub, pb.CACHE_MODE_READ_WRITE))

            async def begin() -> None:
                store.kill()

            yield gateway.ops_address, begin


@asynccontextmanager
async def tampered(folder: Path) -> AsyncIterator[tuple[str, Begin]]:
    """Somebody writes into the cache's store."""
    with running_store() as store:
        stores = {"cache": store.url, "key_file": key_file(folder)}
        async with AsyncExitStack() as stack:
            gateway = await stack.enter_async_context(running(config_of(stores=stores), upstream=FakeUpstream()))
            traffic = await stack.enter_async_context(called(gateway))
            traffic.start(lambda: search(traffic.stub, pb.CACHE_MODE_READ_WRITE))

            async def begin() -> None:
                await asyncio.to_thread(_alter, store)

            yield gateway.ops_address, begin


def _alter(store: StoreServer) -> None:
    with store.client() as client:
        for name in client.scan_iter(b"facegate:cache:*"):
            if not name.endswith(b":epochs"):
                client.setrange(name, 20, b"\0\0\0\0\0\0")


@asynccontextmanager
async def overloaded(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """More callers than there are places."""
    upstream = FakeUpstream()
    config = config_of(server={"max_concurrent_rpcs": 1})
    async with running(config, upstream=upstream) as gateway, called(gateway) as traffic:
        traffic.start(lambda: search(traffic.stub), pause=0.2)

        async def begin() -> None:
            upstream.hold.clear()
            traffic.start(lambda: search(traffic.stub), lanes=2)

        yield gateway.ops_address, begin
        upstream.hold.set()


@asynccontextmanager
async def over_its_rate(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """A tenant that retries without a pause."""
    limited = {"id": "demo", "face_sets": {"employees": "e"}, "limits": {"rate": {"per_second": 0.5, "burst": 1}}}
    async with running(config_of(tenants=[limited]), upstream=FakeUpstream()) as gateway, called(gateway) as traffic:
        traffic.start(lambda: search(traffic.stub), pause=4)

        async def begin() -> None:
            traffic.start(lambda: search(traffic.stub))

        yield gateway.ops_address, begin


@asynccontextmanager
async def guessed(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """A stranger tries tokens."""
    config = config_of(auth={"anonymous_tenant": None}, tenants=[tenant("kyc", holder_of("t" * 43))])
    async with running(config, upstream=FakeUpstream()) as gateway, called(gateway) as traffic:
        stranger = (("authorization", "Bearer " + "g" * 43),)

        async def begin() -> None:
            traffic.start(lambda: traffic.stub.GetQuota(pb.GetQuotaRequest(), metadata=stranger), pause=0.05, lanes=3)

        yield gateway.ops_address, begin


@asynccontextmanager
async def files_spoiled(folder: Path) -> AsyncIterator[tuple[str, Begin]]:
    """The file of a secret is emptied."""
    async with Vendor(always(OK)) as vendor:
        config = config_of(upstream=upstream_of(vendor, folder))
        watcher = FileWatcher(clock=SystemClock(), settle_seconds=0, interval_seconds=0.2)
        async with running(config, watcher=watcher) as gateway, called(gateway) as traffic:
            traffic.start(lambda: search(traffic.stub))

            async def begin() -> None:
                (folder / "secret").write_text("")

            yield gateway.ops_address, begin


@asynccontextmanager
async def certificate_ends(folder: Path) -> AsyncIterator[tuple[str, Begin]]:
    """The server's certificate has two hours left."""
    authority = Authority()
    settings = tls_settings(folder, authority.issue([], valid_for=7200), authority.pem)
    async with running(config_of(server={"tls": settings}), upstream=FakeUpstream()) as gateway:
        yield gateway.ops_address, nothing


@asynccontextmanager
async def without_a_collector(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """Nobody listens where telemetry is sent."""
    config = config_of(telemetry={"otlp_endpoint": f"http://127.0.0.1:{free_port()}"})
    async with running(config, upstream=FakeUpstream()) as gateway, called(gateway) as traffic:
        traffic.start(lambda: search(traffic.stub))
        yield gateway.ops_address, nothing


VENDOR_DOWN = vendor_that(lambda: response(500, b""))
VENDOR_SLOW = vendor_that(lambda: OK, waits=6, lanes=3)
KEY_EXPIRED = vendor_that(refusal_by(401, "KEY_EXPIRED"))
NOT_FOUND = vendor_that(once(response(404, b"")))
OUT_OF_QUOTA = vendor_that(refusal_by(403, "OUT_OF_QUOTA"))
FACE_SET_UNUSABLE = vendor_that(refusal_by(400, "QUERY_FAILED"))
