"""Three gateway processes on one cache: they answer for each other, and a purge at one of them holds at all within 2 s."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from facegate.admin.v1 import admin_service_pb2 as admin_pb
from facegate.search.v1 import face_search_service_pb2 as pb

from gateway.sandbox.server import Sandbox
from tests.support.conditions import eventually
from tests.support.replicas import (
    FACE_SET,
    Replica,
    end_of,
    key_file,
    login,
    photo,
    request,
    running_replicas,
    sandbox_for,
    settings_for,
    tenant,
    vendor_name,
)
from tests.support.valkey import running_store

pytestmark = pytest.mark.asyncio(loop_scope="module")

CROWD = 1000
ONLY_IF_CACHED = pb.CACHE_MODE_ONLY_IF_CACHED
PURGE_SECONDS = 2.0
TENANTS = [tenant("kyc", visitors="visitors"), tenant("other"), tenant("ops", role="operator")]
# Whose answers there are: tenant and face set.
KYC, VISITORS, OTHER = ("kyc", FACE_SET), ("kyc", "visitors"), ("other", FACE_SET)
SCOPES: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "all": ({"all": True}, {KYC, VISITORS, OTHER}),
    "tenant": ({"tenant": "kyc"}, {KYC, VISITORS}),
    "face set": ({"face_set": admin_pb.TenantFaceSet(tenant="kyc", face_set=FACE_SET)}, {KYC}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    names = [vendor_name("kyc"), vendor_name("other"), "visitors"]
    async with sandbox_for(tmp_path_factory.mktemp("purges"), names) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> AsyncIterator[list[Replica]]:
    folder = tmp_path_factory.mktemp("replicas")
    with running_store() as store:
        stores = {"cache": store.url, "key_file": key_file(folder)}
        async with running_replicas(
            folder, [settings_for(sandbox, TENANTS, stores=stores)] * 3, channels=6
        ) as replicas:
            yield replicas


async def searched(replica: Replica, whose: tuple[str, str], number: str, **fields: Any) -> pb.SearchFaceResponse:
    who, face_set = whose
    answer: pb.SearchFaceResponse = await replica.search(who, request(photo(number), face_set=face_set, **fields))
    return answer


async def held(replica: Replica, whose: tuple[str, str], number: str) -> set[str]:
    """Searches until the answer comes from the cache; the vendor's ids of all answers."""
    ids: set[str] = set()
    async with asyncio.timeout(30):
        while True:
            answer = await searched(replica, whose, number)
            ids.add(answer.upstream_request_id)
            if answer.cache.status == pb.CACHE_STATUS_HIT:
                return ids


async def cached(replica: Replica, whose: tuple[str, str], number: str) -> bool:
    """Whether the replica has an answer."""
    who, face_set = whose
    end = await end_of(replica.search(who, request(photo(number), ONLY_IF_CACHED, face_set=face_set)))
    assert end in {"OK", "CACHE_MISS"}
    return end == "OK"


async def dead(replica: Replica, whose: tuple[str, str], number: str, since: float) -> float:
    """How long after `since` the replica had no answer any more; fails after 5 s."""
    while await cached(replica, whose, number):
        assert time.monotonic() - since < 5, "the purge did not reach the replica"
        await asyncio.sleep(0.02)
    return time.monotonic() - since


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.timed
async def test_two_seconds_after_a_purge_no_gateway_serves_an_older_answer(
    sandbox: Sandbox, replicas: list[Replica], scope: str
) -> None:
    """Three replicas with the answers in front, and a search in flight at two; what is outside the scope lives on."""
    purge, gone = SCOPES[scope]
    kept = {KYC, VISITORS, OTHER} - gone
    old = set()
    for whose in (KYC, VISITORS, OTHER):
        for replica in replicas:
            old |= await held(replica, whose, scope)
    sandbox.faults.post({"kind": "latency", "latency_seconds": 1.0, "calls": 2})
    seen = sandbox.stats.total
    flying = [asyncio.ensure_future(searched(replica, KYC, f"{scope} in flight")) for replica in replicas[:2]]
    await eventually(lambda: seen.in_flight == 2, "two searches are in flight")
    epoch = (await replicas[2].admin.PurgeCache(admin_pb.PurgeCacheRequest(**purge), metadata=login("ops"))).epoch
    purged = time.monotonic()
    deaths = await asyncio.gather(*(dead(replica, whose, scope, purged) for replica in replicas for whose in gone))
    print(f"{scope}: epoch {epoch}, dead after {[round(d * 1000) for d in deaths]} ms")  # noqa: T201
    assert max(deaths) < PURGE_SECONDS
    # Who asked before the purge gets the answer; nobody else ever does.
    landed = {answer.upstream_request_id for answer in await asyncio.gather(*flying)}
    await asyncio.sleep(max(0.0, purged + PURGE_SECONDS - time.monotonic()))
    for replica in replicas:
        assert not await cached(replica, KYC, f"{scope} in flight")
        assert not [whose for whose in gone if await cached(replica, whose, scope)]
        for whose in kept:
            assert await held(replica, whose, scope) <= old
    for replica in replicas:
        for whose in gone:
            assert (await searched(replica, whose, scope)).upstream_request_id not in old
        assert (await searched(replica, KYC, f"{scope} in flight")).upstream_request_id not in landed


async def test_a_search_after_a_purge_does_not_join_one_from_before(sandbox: Sandbox, replicas: list[Replica]) -> None:
    """At the replica that purged, at once: two upstream calls, and only the later answer is kept."""
    replica = replicas[0]
    sandbox.faults.post({"kind": "latency", "latency_seconds": 1.0, "calls": 1})
    before = asyncio.ensure_future(searched(replica, KYC, "joined"))
    await eventually(lambda: sandbox.stats.total.in_flight == 1, "the search is in flight")
    await replica.admin.PurgeCache(admin_pb.PurgeCacheRequest(all=True), metadata=login("ops"))
    after = await searched(replica, KYC, "joined")
    assert after.cache.status == pb.CACHE_STATUS_MISS
    assert (await before).upstream_request_id != after.upstream_request_id
    again = await searched(replica, KYC, "joined")
    assert (again.cache.status, again.upstream_request_id) == (pb.CACHE_STATUS_HIT, after.upstream_request_id)


async def test_identical_searches_make_at_most_one_upstream_call_a_gateway(
    sandbox: Sandbox, replicas: list[Replica]
) -> None:
    """1,000 at once: what lands at one is a hit at the others from then on; one answer for all, and no other charge."""
    sandbox.faults.post({"kind": "latency", "latency_seconds": 0.5, "calls": 3})
    before = sandbox.stats.total.calls
    turns = itertools.cycle(replicas)
    asked = request(photo("crowd"), threshold=0.5)
    answers = await asyncio.gather(*(next(turns).search("kyc", asked, timeout=40) for _ in range(CROWD)))
    calls = sandbox.stats.total.calls - before
    sandbox.faults.clear()
    statuses = Counter(answer.cache.status for answer in answers)
    print(f"{calls} upstream calls, {statuses}")  # noqa: T201
    assert 1 <= calls <= len(replicas)
    assert statuses[pb.CACHE_STATUS_MISS] == calls
    assert statuses[pb.CACHE_STATUS_COALESCED] + statuses[pb.CACHE_STATUS_HIT] == CROWD - calls
    assert sum(answer.quota_charge.upstream_calls for answer in answers) == calls
    assert len({answer.matches[0].SerializeToString() for answer in answers}) == 1
