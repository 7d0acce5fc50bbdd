"""Limits over three gateway processes on one store, called over gRPC and counted at the vendor."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from gateway.sandbox.server import Sandbox
from tests.support.conditions import eventually
from tests.support.gateway import refusal_of
from tests.support.replicas import (
    ALL_SEEDS,
    Replica,
    clear_of_midnight,
    end_of,
    photo,
    request,
    running_replicas,
    sandbox_for,
    settings_for,
    tenant,
    vendor_name,
)
from tests.support.valkey import running_cluster, running_store

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS, CLUSTER_SEEDS = (range(20), range(20)) if ALL_SEEDS else (range(2), range(1))
DAY_LIMIT, CONCURRENCY, CLIENTS, AT_ONCE = 1000, 50, 8, 8
# The limits are exact while the store is there. Where the machine was so busy that the store seemed out to some call, and
# a limit was missed, the run shows nothing; it is made again with another tenant.
ATTEMPTS = 4
LIMITS = {"concurrency": CONCURRENCY, "upstream_calls": {"per_day": DAY_LIMIT}}
RUNS = [f"run-{number}" for number in range(len(SEEDS) * ATTEMPTS)]
HELD = {"concurrency": 4, "upstream_calls": {"per_day": 100}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    names = [vendor_name(name) for name in [*RUNS, "held"]]
    async with sandbox_for(tmp_path_factory.mktemp("limits"), names) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[str]:
    with running_store() as store:
        yield store.url


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    with running_cluster() as cluster:
        yield cluster.url


def settings(sandbox: Sandbox, url: str, count: int = 3, **upstream: Any) -> list[dict[str, Any]]:
    tenants = [tenant(name, limits=LIMITS) for name in RUNS] + [tenant("held", limits=HELD)]
    one = settings_for(sandbox, tenants, stores={"quota": url}, quota={"expected_replicas": count}, upstream=upstream)
    return [one] * count


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, valkey_url: str
) -> AsyncIterator[list[Replica]]:
    async with running_replicas(tmp_path_factory.mktemp("valkey"), settings(sandbox, valkey_url)) as replicas:
        yield replicas


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster_replicas(
    tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox, cluster_url: str
) -> AsyncIterator[list[Replica]]:
    async with running_replicas(tmp_path_factory.mktemp("cluster"), settings(sandbox, cluster_url)) as replicas:
        yield replicas


class Run:
    """8 clients, each with several calls at once spread over the replicas, until the day's limit refuses for a while."""

    def __init__(self, replicas: list[Replica], who: str, seed: int) -> None:
        self.replicas = replicas
        self.who = who
        self.ends: Counter[str] = Counter()
        self.degraded = 0
        self._numbers = itertools.count()
        self._lottery = random.Random(seed)

    async def until_refused(self) -> None:
        await asyncio.gather(*(self._caller() for _ in range(CLIENTS * AT_ONCE)))

    async def _caller(self) -> None:
        patience = 4
        while patience:
            end = await self._call()
            self.ends[end] += 1
            if end == "TENANT_QUOTA_EXCEEDED":
                patience -= 1  # What is in flight elsewhere may yet be refunded.
                await asyncio.sleep(0.05)
            elif end == "TENANT_CONCURRENCY_EXCEEDED":
                await asyncio.sleep(0.05 + self._lottery.random() * 0.1)
            else:
                patience = 4

    async def _call(self) -> str:
        replica = self._lottery.choice(self.replicas)
        try:
            answer = await replica.search(self.who, request(photo(next(self._numbers))))
        except grpc.aio.AioRpcError as error:
            return refusal_of(error).reason or error.code().name
        self.degraded += answer.quota_charge.degraded
        return "OK"


def whims(sandbox: Sandbox, who: str, seed: int) -> None:
    """The vendor takes its time, differently for each seed, and refuses one search in twenty, which is refunded.

    The time makes calls pile up to the limit without making the machine busy: a store that is kept waiting for a
    processor would look like one that is out.
    """
    lottery = random.Random(seed)
    faults: list[dict[str, Any]] = []
    for _ in range(200):
        late = {"calls": lottery.randint(1, 12), "latency_seconds": 0.1 + lottery.random() * 0.15, "face_set": who}
        faults.append({"kind": "latency", **late})
        if lottery.random() < 0.3:
            refused = {"kind": "status", "status": "QUERY_FAILED", "reason": "face set error"}
            faults.append({**refused, **late, "calls": 1})
    sandbox.faults.clear()
    sandbox.faults.post(faults)


def _tell(sandbox: Sandbox, run: Run, seed: int, attempt: int, seconds: float) -> None:
    seen = sandbox.stats.face_sets[vendor_name(run.who)]
    print(  # noqa: T201
        f"seed {seed}, attempt {attempt + 1}: {dict(run.ends)}, {seen}, degraded {run.degraded}, {seconds:.1f} s, "
        f"{sandbox.stats.statuses}"
    )


async def all_is_told(replica: Replica, who: str) -> None:
    """The last slots of the other replicas are free within 5 ms; on a busy machine later, but long before a lease ends."""
    deadline = time.monotonic() + 14
    while (found := (await replica.used(who), await replica.used(who, "concurrency"))) != (DAY_LIMIT, 0):
        assert time.monotonic() < deadline, f"(used, in flight) is {found}"
        await asyncio.sleep(0.02)


async def exactly_the_limit(sandbox: Sandbox, replicas: list[Replica], seed: int) -> None:
    await clear_of_midnight()
    for attempt in range(ATTEMPTS):
        who = RUNS[seed * ATTEMPTS + attempt]
        whims(sandbox, vendor_name(who), seed)
        sandbox.stats.reset()
        run = Run(replicas, who, seed)
        began = time.monotonic()
        await run.until_refused()
        _tell(sandbox, run, seed, attempt, time.monotonic() - began)
        seen = sandbox.stats.face_sets[vendor_name(who)]
        if not run.degraded or (run.ends["OK"] == DAY_LIMIT and seen.highest_in_flight <= CONCURRENCY):
            break
    else:
        pytest.fail("the store seemed out in every run: nothing is shown")
    assert run.ends["OK"] == DAY_LIMIT
    assert run.ends["FACE_SET_UNUSABLE"] > 0, "nothing was refunded: this run shows less"
    assert seen.calls == DAY_LIMIT + run.ends["FACE_SET_UNUSABLE"]
    assert seen.highest_in_flight <= CONCURRENCY
    assert run.ends["TENANT_CONCURRENCY_EXCEEDED"] > 0, "concurrency never refused: this run shows nothing"
    assert set(run.ends) <= {"OK", "FACE_SET_UNUSABLE", "TENANT_QUOTA_EXCEEDED", "TENANT_CONCURRENCY_EXCEEDED"}
    for replica in replicas:
        await all_is_told(replica, who)


@pytest.mark.parametrize("seed", SEEDS)
async def test_three_gateways_admit_exactly_the_limit(sandbox: Sandbox, replicas: list[Replica], seed: int) -> None:
    """1,000 a day and 50 at once: the vendor answers exactly 1,000 searches, and never sees more than 50 at once."""
    await exactly_the_limit(sandbox, replicas, seed)


@pytest.mark.parametrize("seed", CLUSTER_SEEDS)
async def test_three_gateways_on_a_cluster_admit_exactly_the_limit(
    sandbox: Sandbox, cluster_replicas: list[Replica], seed: int
) -> None:
    """The same on three masters."""
    await exactly_the_limit(sandbox, cluster_replicas, seed)


@pytest.mark.timed
async def test_a_killed_gateway_frees_its_slots_within_15_seconds(
    tmp_path: Path, sandbox: Sandbox, replicas: list[Replica], valkey_url: str
) -> None:
    """kill -9 while it holds every slot: another is refused while the leases run, and admitted after 15 s at the latest."""
    sandbox.faults.clear()
    sandbox.faults.post({"kind": "hang", "face_set": vendor_name("held"), "calls": 4})
    left = replicas[0]
    async with running_replicas(tmp_path, settings(sandbox, valkey_url, 1, timeout_seconds=60)) as (dying,):
        held = [dying.search("held", request(photo(number)), timeout=60) for number in range(4)]
        seen = sandbox.stats.face_sets[vendor_name("held")]
        await eventually(lambda: seen.in_flight == 4, "four searches hang at the vendor")
        assert await left.used("held", "concurrency") == 4
        dying.kill()
        killed = time.monotonic()
        await asyncio.gather(*held, return_exceptions=True)
        refused = 0
        while True:
            end = await end_of(left.search("held", request(photo(9))))
            if end == "OK":
                break
            assert end == "TENANT_CONCURRENCY_EXCEEDED"
            refused += 1
            assert time.monotonic() - killed < 15
            await asyncio.sleep(0.1)
        print(f"free after {time.monotonic() - killed:.1f} s, {refused} refusals")  # noqa: T201
        assert time.monotonic() - killed < 15
        assert refused, "the slots were never held: this run shows nothing"
    sandbox.faults.clear()
