"""What somebody gains who writes to the stores, or reads all of them: nothing, seen from the gateway's callers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from blake3 import blake3
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.clock import Clock
from gateway.model import Match, Outcome, UpstreamAnswer
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.gateway import config_of, running
from tests.support.logs import CaughtLogs, caught_logs
from tests.support.metrics import metrics_page
from tests.support.metrics import values as values_of
from tests.support.replicas import key_file, login, photo, request, tenant, vendor_name
from tests.support.store_clock import ManualStoreClock
from tests.support.upstream import FakeUpstream
from tests.support.valkey import StoreServer, running_store

PERSON, FACE, BORN = 7_310_549_455_488_008_194, 4_354_494_554_880_081_941, 1_789_123_457
TENANTS = [tenant("kyc", limits={"concurrency": 50, "upstream_calls": {"per_day": 1000}}), tenant("other")]
ATTACKS = ("altered", "truncated", "emptied", "swapped", "another tenant's", "another type")


def answer(number: int) -> UpstreamAnswer:
    """Another person for each number."""
    match = Match(PERSON + number, FACE + number, 0.98765, BORN)
    return UpstreamAnswer((match,), Outcome.MATCHED, f"TIDcanary{number:06}")


@pytest.fixture
def store() -> Iterator[StoreServer]:
    with running_store() as store:
        yield store


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[CaughtLogs]:
    with caught_logs(tmp_path) as logs:
        yield logs


@pytest.fixture
def open_gateway(tmp_path: Path, store: StoreServer) -> Callable[..., Any]:
    """Opens another gateway on the same store, with the same key file."""
    stores = {"cache": store.url, "quota": store.url, "key_file": key_file(tmp_path)}

    @asynccontextmanager
    async def opened(upstream: FakeUpstream, clock: Clock | None = None) -> AsyncIterator[tuple[Gateway, Any]]:
        config = config_of(auth={"anonymous_tenant": None}, tenants=TENANTS, stores=stores)
        async with (
            running(config, upstream=upstream, clock=clock) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            yield gateway, FaceSearchServiceStub(channel)

    return opened


async def search(stub: Any, number: int, who: str = "kyc") -> Any:
    return await stub.SearchFace(request(photo(number)), metadata=login(who), timeout=20)


def values(store: StoreServer) -> dict[bytes, bytes]:
    """The cache's sealed values by name."""
    with store.client() as client:
        names = [name for name in client.scan_iter(b"facegate:cache:*") if not name.endswith(b":epochs")]
        return {name: client.get(name) for name in names}


async def stored(store: StoreServer, stub: Any, upstream: FakeUpstream, number: int, who: str = "kyc") -> bytes:
    """The name under which the answer to a photo has been put."""
    before = set(values(store))
    upstream.answer = answer(number)
    assert (await search(stub, number, who)).cache.status == pb.CACHE_STATUS_MISS
    await eventually(lambda: len(values(store)) > len(before), "the answer is in the store")
    (name,) = set(values(store)) - before
    return name


async def in_use(stub: Any) -> None:
    """Waits until the gateway looks into the store again, by searches for a photo of their own."""
    async with asyncio.timeout(30):
        while (await search(stub, 99)).cache.status == pb.CACHE_STATUS_BYPASS:
            await asyncio.sleep(0.02)


async def refused(gateway: Gateway) -> float:
    """The alert's metric: values that the gateway refused."""
    return values_of(await metrics_page(gateway.ops_address))["facegate_cache_values_refused_total"]


def spoil(store: StoreServer, attack: str, name: bytes, other: bytes, foreign: bytes) -> None:
    sealed = values(store)
    value = sealed[name]
    forged = {
        "altered": value[:30] + bytes([value[30] ^ 1]) + value[31:],
        "truncated": value[:-1],
        "emptied": b"",
        "swapped": sealed[other],
        "another tenant's": sealed[foreign],
    }
    with store.client() as client:
        if attack in forged:
            client.set(name, forged[attack])
        else:
            client.delete(name)
            client.rpush(name, b"a")


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_spoilt_value_is_a_miss_an_alert_and_the_right_answer(
    store: StoreServer, open_gateway: Callable[..., Any], logs: CaughtLogs, attack: str
) -> None:
    """The gateway asks the vendor again, whatever is under the name, and puts the right answer in its place."""
    upstream = FakeUpstream()
    async with open_gateway(upstream) as (_, first), open_gateway(upstream) as (gateway, second):
        name = await stored(store, first, upstream, 1)
        other = await stored(store, first, upstream, 2)
        foreign = await stored(store, first, upstream, 3, "other")
        spoil(store, attack, name, other, foreign)
        # Another person, so that an answer from the spoilt value would show.
        upstream.answer = answer(4)
        # The second has never held the value in front.
        again = await search(second, 1)
        assert (again.cache.status, again.matches[0].person_id) == (pb.CACHE_STATUS_MISS, PERSON + 4)
        assert again.quota_charge.upstream_calls == 1
        assert len(upstream.queries) == 4
        await eventually(lambda: len(logs.lines("cache.value_refused")) == 1, "the alert is in the log")
        assert await refused(gateway) >= 1
        async with open_gateway(upstream) as (_, third):
            healed = await search(third, 1)
            assert (healed.cache.status, healed.matches[0].person_id) == (pb.CACHE_STATUS_HIT, PERSON + 4)
            untouched = await search(third, 2)
            assert (untouched.cache.status, untouched.matches[0].person_id) == (pb.CACHE_STATUS_HIT, PERSON + 2)


@pytest.mark.parametrize("late_seconds", [0, 1, 10])
async def test_a_value_put_back_after_its_time_is_a_miss(
    store: StoreServer,
    open_gateway: Callable[..., Any],
    logs: CaughtLogs,
    monkeypatch: pytest.MonkeyPatch,
    late_seconds: int,
) -> None:
    """Kept by somebody, and put back when it had died: the time of issue is inside the seal."""
    clock, upstream = ManualClock(), FakeUpstream()
    monkeypatch.setattr("gateway.cache.shared.StoreClock", ManualStoreClock)
    async with open_gateway(upstream, clock) as (gateway, stub):
        name = await stored(store, stub, upstream, 1)
        kept = values(store)[name]
        upstream.answer = answer(2)
        clock.advance(300 + late_seconds)
        store.command("SET", name, kept)
        # The clock's jump made the view of the epochs old, and what is searched until it is renewed may be kept.
        await in_use(stub)
        again = await search(stub, 1)
        assert (again.cache.status, again.matches[0].person_id) == (pb.CACHE_STATUS_MISS, PERSON + 2)
        assert again.quota_charge.upstream_calls == 1
        await eventually(lambda: len(logs.lines("cache.value_refused")) == 1, "the alert is in the log")
        assert logs.lines("cache.value_refused")[0]["fault"] == "replayed"
        assert await refused(gateway) >= 1


def dump(store: StoreServer) -> bytes:
    """All names and values of the server, as a client reads them and as the server writes them to disk."""
    parts: list[bytes] = []
    with store.client() as client:
        for name in client.scan_iter():
            kind = client.type(name)
            read = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"zset": lambda n: client.zrange(n, 0, -1, withscores=True),
            }
            parts += [name, client.dump(name), repr(read[kind](name)).encode()]
            if kind == b"hash":
                parts += [part for pair in client.hgetall(name).items() for part in pair]
            elif kind == b"string":
                parts.append(client.get(name))
    return b"\n".join(parts)


def hashes(content: bytes) -> set[bytes]:
    """What anybody can compute of an image who has no key: every common hash, raw, as hex and as its halves."""
    digests = [
        hashlib.new(name, content, usedforsecurity=False).digest() for name in ("md5", "sha1", "sha256", "sha512")
    ]
    digests += [
        hashlib.blake2b(content).digest(),
        hashlib.blake2s(content).digest(),
        hashlib.sha3_256(content).digest(),
    ]
    digests += [blake3(content).digest(), blake3(content, key=bytes(32)).digest()]
    digests += [blake3(content, derive_key_context=f"facegate {who}").digest() for who in ("kyc", "other")]
    return {form for digest in digests for form in (digest[:12], digest.hex()[:24].encode())}


async def test_a_dump_of_both_stores_tells_nothing_of_faces(
    store: StoreServer, open_gateway: Callable[..., Any], logs: CaughtLogs
) -> None:
    """Counts and tenants' ids, but no person, face, score, time, photo, vendor's name or credential; nor in the log."""
    upstream = FakeUpstream()
    async with open_gateway(upstream) as (_, stub):
        for number in range(1, 6):
            await stored(store, stub, upstream, number)
        await stored(store, stub, upstream, 6, "other")
        upstream.hold.clear()
        # While a search is in flight the quota's store holds most: slots and reservations.
        flying = stub.SearchFace(request(photo(7)), metadata=login("kyc"), timeout=20)
        await eventually(lambda: upstream.in_flight == 1, "a search is in flight")
        everything = dump(store)
        upstream.hold.set()
        await flying
        everything += dump(store)
        assert everything.count(b"facegate:cache:") > 6
        assert b"facegate:quota:" in everything
    private = {vendor_name("kyc").encode(), vendor_name("other").encode(), b"TIDcanary", b"0.98765", b"employees"}
    for who in ("kyc", "other"):
        token = dict(login(who))["authorization"].removeprefix("Bearer ").encode()
        private |= {token, hashlib.sha256(token).digest(), hashlib.sha256(token).hexdigest().encode()}
    for number in range(8):
        for identity in (PERSON + number, FACE + number):
            private |= {str(identity).encode(), identity.to_bytes(8, "little"), identity.to_bytes(8, "big")}
        private |= {photo(number)[:64], photo(number)[-64:], *hashes(photo(number))}
    private.add(BORN.to_bytes(8, "little"))
    assert [one for one in private if one in everything] == []
    written = logs.text.encode()
    assert [one for one in private - {b"employees"} if one in written] == []


async def test_a_dump_without_the_key_file_does_not_tell_whether_a_photo_was_searched(
    tmp_path: Path, store: StoreServer, open_gateway: Callable[..., Any]
) -> None:
    """A gateway of somebody who has the stores, the configuration and the photo, but other 32 bytes, finds nothing."""
    upstream = FakeUpstream(answer(1))
    async with open_gateway(upstream) as (_, stub):
        names = {await stored(store, stub, upstream, 1)}
        stores = {"cache": store.url, "key_file": key_file(tmp_path)}
        config = config_of(auth={"anonymous_tenant": None}, tenants=TENANTS, stores=stores)
        async with (
            running(config, upstream=upstream) as stranger,
            grpc.aio.insecure_channel(stranger.address) as channel,
        ):
            found = await search(FaceSearchServiceStub(channel), 1)
        assert found.cache.status == pb.CACHE_STATUS_MISS
        await eventually(lambda: len(set(values(store)) - names) == 1, "its answer has a name of its own")
