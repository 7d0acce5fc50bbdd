"""The states of parts, as `/metrics` shows them: read from the real parts of a real gateway, never from a copy."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.clock import SystemClock
from gateway.config import Config
from gateway.telemetry.catalogue import CATALOGUE
from gateway.upstream.slots import WAIT_SECONDS
from gateway.watcher import FileWatcher
from tests.support.callers import SPIFFE_ID, tenant, tls_channel, tls_settings
from tests.support.gateway import config_of, refusal, running
from tests.support.images import jpeg
from tests.support.metrics import metrics_page, values
from tests.support.otlp import collecting
from tests.support.pki import Authority, Credentials
from tests.support.replicas import key_file
from tests.support.upstream import FakeUpstream
from tests.support.valkey import running_store
from tests.support.vendor import OK, Connection, Vendor, always, upstream_of

EXPIRY = "facegate_certificate_expiry_timestamp_seconds"


@asynccontextmanager
async def calling(config: Config, **parts: Any) -> AsyncIterator[tuple[Gateway, Any]]:
    """A gateway and a plaintext caller of it."""
    async with (
        running(config, **parts) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield gateway, FaceSearchServiceStub(channel)


def search(stub: Any, seed: int) -> Any:
    request = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg(seed=seed)))
    return stub.SearchFace(request, timeout=10)


async def shown(gateway: Gateway) -> dict[str, float]:
    """All series now."""
    return values(await metrics_page(gateway.ops_address))


async def test_searches_that_wait_for_a_connection_are_shown(tmp_path: Path) -> None:
    """While they wait, and no longer: neither after a place came free nor after the wait was too long."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def held(connection: Connection) -> None:
        await connection.request()
        arrived.set()
        await go_on.wait()
        await connection.send(OK)

    async with Vendor(held) as vendor:
        config = config_of(upstream=upstream_of(vendor, tmp_path, max_connections=1))
        async with calling(config) as (gateway, stub):
            first = asyncio.ensure_future(search(stub, 1))
            await arrived.wait()
            others = [asyncio.ensure_future(refusal(search(stub, seed))) for seed in (2, 3)]
            seen = set()
            while not all(other.done() for other in others):
                seen.add((await shown(gateway))["facegate_upstream_waiting"])
            assert 2 in seen
            assert [(await other).reason for other in others] == ["GATEWAY_OVERLOADED"] * 2
            go_on.set()
            await first
            # The loop above was a flood to the operators' listener, which shows the last page again until it is over.
            async with asyncio.timeout(30):
                while (after := await shown(gateway))["facegate_upstream_waiting"]:
                    await asyncio.sleep(0.05)
            # The two that had to, until they were told to come back; the first did not wait.
            assert after["facegate_upstream_queue_duration_seconds_count"] == 2
            assert after["facegate_upstream_queue_duration_seconds_sum"] >= 2 * WAIT_SECONDS * 0.9


async def test_what_the_cache_holds_is_shown() -> None:
    """Keys and the memory that they take; a hit adds none."""
    async with calling(config_of(), upstream=FakeUpstream()) as (gateway, stub):
        empty = await shown(gateway)
        for seed in (1, 2, 3, 1):
            await search(stub, seed)
        filled = await shown(gateway)
    assert (empty["facegate_cache_entries"], filled["facegate_cache_entries"]) == (0, 3)
    assert empty["facegate_cache_size_bytes"] + 3 * 64 < filled["facegate_cache_size_bytes"] < 1 << 20


async def test_a_stored_answer_that_was_altered_is_counted(tmp_path: Path) -> None:
    """In the shared store, where somebody could meddle; the search goes on as a miss."""
    with running_store() as store, store.client() as client:
        config = config_of(stores={"cache": store.url, "key_file": key_file(tmp_path)})
        async with calling(config, upstream=FakeUpstream()) as (gateway, stub):
            await search(stub, 1)
            assert (await shown(gateway))["facegate_cache_values_refused_total"] == 0
            assert (await shown(gateway))["facegate_cache_entries"] == 1
        (name,) = [name for name in client.scan_iter(b"facegate:cache:*") if not name.endswith(b":epochs")]
        client.setrange(name, 20, b"\0\0\0\0\0\0")
        async with calling(config, upstream=FakeUpstream()) as (gateway, stub):
            await search(stub, 1)
            # Met twice: by the lookup, and by the new answer that takes its place.
            assert (await shown(gateway))["facegate_cache_values_refused_total"] == 2


DURATION = "facegate_store_duration_seconds_count"


async def test_what_each_store_takes_to_answer_is_shown(tmp_path: Path) -> None:
    """One question of each for a search that the cache answers, more for a miss; an outage too is waited for and shown."""
    with running_store() as store:
        stores = {"quota": store.url, "cache": store.url, "key_file": key_file(tmp_path)}
        limits = {"rate": {"per_second": 100, "burst": 100}, "upstream_calls": {"per_day": 100}}
        limited = {"id": "demo", "face_sets": {"employees": "employees-prod"}, "limits": limits}
        config = config_of(stores=stores, tenants=[limited])
        async with calling(config, upstream=FakeUpstream()) as (gateway, stub):
            before = await shown(gateway)
            await search(stub, 1)
            after = await shown(gateway)
            for name, at_least in (("quota", 2), ("cache", 2)):
                series = f'{DURATION}{{store="{name}"}}'
                assert after[series] >= before[series] + at_least
            store.kill()
            await search(stub, 2)
            out = await shown(gateway)
            series = f'{DURATION}{{store="quota"}}'
            assert out[series] > after[series]


async def test_an_outage_is_shown_though_nobody_calls(tmp_path: Path) -> None:
    """And its end: an operator must not depend on a caller to learn that a store is gone."""
    with running_store() as store:
        stores = {"quota": store.url, "cache": store.url, "key_file": key_file(tmp_path)}
        async with running(config_of(stores=stores), upstream=FakeUpstream()) as gateway:

            async def until(up: int) -> None:
                async with asyncio.timeout(20):
                    while True:
                        page = await shown(gateway)
                        if [page[f'facegate_store_up{{store="{name}"}}'] for name in ("quota", "cache")] == [up, up]:
                            return
                        await asyncio.sleep(0.05)

            await until(1)
            store.kill()
            await until(0)
            await asyncio.to_thread(store.start)
            await until(1)


async def test_stores_in_memory_are_not_asked() -> None:
    """Their series are there, for a rule to tell none from unknown, and stay at 0."""
    async with calling(config_of(), upstream=FakeUpstream()) as (gateway, stub):
        await search(stub, 1)
        page = await shown(gateway)
    assert [page[f'{DURATION}{{store="{name}"}}'] for name in ("quota", "cache")] == [0, 0]


def end_of(certificate: bytes) -> float:
    """`notAfter` in seconds since 1970."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()


async def test_a_reload_shows_the_end_of_the_new_certificates(tmp_path: Path) -> None:
    """Of those in force: a file that cannot be used changes nothing."""
    authority, other = Authority(), Authority(now=1_800_000_000)
    former, later = authority.issue([], valid_for=7200), authority.issue([], valid_for=86_400)
    settings = tls_settings(tmp_path, former, authority.pem)
    watcher = FileWatcher(clock=SystemClock(), interval_seconds=3600, settle_seconds=0)
    config = config_of(server={"tls": settings}, auth={"spiffe_trust_domain": "corp.example"})
    async with running(config, upstream=FakeUpstream(), watcher=watcher) as gateway:

        async def ends() -> tuple[float, float]:
            page = await shown(gateway)
            return page[f'{EXPIRY}{{certificate="server"}}'], page[f'{EXPIRY}{{certificate="client_ca"}}']

        assert await ends() == (end_of(former.certificate), end_of(authority.pem))
        # The first authority of a bundle is the one that is shown.
        tls_settings(tmp_path, later, other.pem + authority.pem)
        await watcher.poll()
        assert await ends() == (end_of(later.certificate), end_of(other.pem))
        tls_settings(tmp_path, Credentials(former.certificate, later.key), authority.pem)
        await watcher.poll()
        assert watcher.problems()
        assert await ends() == (end_of(later.certificate), end_of(other.pem))


async def test_without_tls_no_certificate_is_shown() -> None:
    """No series, rather than one that ends in 1970 and wakes somebody."""
    async with running(config_of(), upstream=FakeUpstream()) as gateway:
        assert EXPIRY not in await metrics_page(gateway.ops_address)


async def test_a_server_without_client_certificates_shows_its_own_alone(tmp_path: Path) -> None:
    """The set of labels is closed, and holds what is there."""
    settings = tls_settings(tmp_path, Authority().server(), b"")
    del settings["client_ca_file"]
    async with running(config_of(server={"tls": settings}), upstream=FakeUpstream()) as gateway:
        assert {series for series in await shown(gateway) if series.startswith(EXPIRY)} == {
            f'{EXPIRY}{{certificate="server"}}'
        }


async def test_the_page_has_what_the_catalogue_says(tmp_path: Path) -> None:
    """All of it, with every part in place; so rules and dashboards, held against the catalogue, read what is there."""
    authority = Authority()
    async with collecting() as collector, Vendor(always(OK)) as vendor:
        config = config_of(
            server={"tls": tls_settings(tmp_path, authority.server(), authority.pem)},
            auth={"anonymous_tenant": None, "spiffe_trust_domain": "corp.example"},
            tenants=[tenant("kyc", {"spiffe_id": SPIFFE_ID})],
            upstream=upstream_of(vendor, tmp_path),
            telemetry={"otlp_endpoint": collector.endpoint},
        )
        async with (
            running(config) as gateway,
            tls_channel(gateway.address, authority, authority.workload(SPIFFE_ID)) as channel,
        ):
            await search(FaceSearchServiceStub(channel), 1)
            page = await metrics_page(gateway.ops_address)
    assert set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE)) == {metric.exposed for metric in CATALOGUE}
