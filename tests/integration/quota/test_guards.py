"""The anomalies that the store's protections are there for, shown with each protection taken out."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator

import pytest
import redis.asyncio

from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.model import Limits, Window
from gateway.quota.gate import QuotaGate
from gateway.quota.link import link_to
from gateway.quota.store import SLOT_LEASE_US
from gateway.quota.valkey import ValkeyQuotaStore
from gateway.quota.windows import window_end
from tests.support.conditions import eventually
from tests.support.lateness import lateness
from tests.support.quota import PATIENCE, HandClock, fresh_prefix, tenant
from tests.support.valkey import StoreServer, running_store

# As in docs/operations.md.
ACL_COMMANDS = (
    "+evalsha +eval +ping +time +get +set +del +pexpire +hget +hmget +hset +hincrby "
    "+zadd +zrem +zcard +zcount +zremrangebyscore +cluster|slots +select"
)


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with running_store() as store:
        yield store


async def test_check_then_charge_overspends(server: StoreServer) -> None:
    """GET and SET instead of the script admit more than the limit: that is why it is one script."""
    client = redis.asyncio.Redis(host=server.host, port=server.port)
    key, limit, admitted = f"{fresh_prefix()}naive", 20, 0

    async def naive() -> None:
        nonlocal admitted
        count = int(await client.get(key) or 0)
        if count < limit:
            await client.set(key, count + 1)
            admitted += 1

    await asyncio.gather(*(naive() for _ in range(60)))
    await client.aclose()
    assert admitted > limit

    store = ValkeyQuotaStore(link_to(server.url, prefix=fresh_prefix()))
    limits = tenant(day=limit).limits
    verdicts = await asyncio.gather(*(store.reserve("t", limits, f"r{n}", PATIENCE) for n in range(60)))
    await store.aclose()
    assert sum(verdict.limit_id == "" for verdict in verdicts) == limit


async def test_replicas_with_clocks_an_hour_apart_share_one_limit(server: StoreServer) -> None:
    """Time is the store's: replicas' clocks decide nothing, though one be an hour ahead and one behind."""
    prefix, who = fresh_prefix(), tenant(rate=(0.001, 40), concurrency=40, minute=25, day=25)

    class SkewedClock(SystemClock):
        def __init__(self, skew: float) -> None:
            self._skew = skew

        def now(self) -> float:
            return SystemClock.now() + self._skew

    stores = [ValkeyQuotaStore(link_to(server.url, prefix=prefix)) for _ in range(3)]
    gates = [QuotaGate(store, clock=SkewedClock(skew)) for store, skew in zip(stores, (-3600, 0, 3600), strict=True)]
    admitted = reserved = 0
    for index in range(60):
        with contextlib.suppress(GatewayError), await gates[index % 3].admit(who) as admission:
            admitted += 1
            (await admission.reserve()).settle()
            reserved += 1
    for gate in gates:
        await gate.aclose()
    assert (admitted, reserved) == (40, 25)


@pytest.mark.parametrize("window", list(Window))
async def test_lua_ends_windows_where_python_does(server: StoreServer, window: Window) -> None:
    """Two implementations of one calendar: a replica's share and the store must mean the same window."""
    clock = HandClock()
    store = ValkeyQuotaStore(
        link_to(server.url, prefix=fresh_prefix()), time_us=clock.now_us, monotonic=clock.monotonic
    )
    for _ in range(60):
        clock.advance(86_400 * 17 + 12_345.678901)
        limits = Limits(upstream_calls={window: 5})
        verdict = await store.reserve(f"t{clock.now()}", limits, "r", PATIENCE)
        assert verdict.counts[0].end_us == window_end(window, clock.now_us())
    await store.aclose()


async def test_an_open_slot_is_renewed_while_its_call_runs(server: StoreServer) -> None:
    """A call may run longer than a lease: its replica renews it; one that nobody renews ends."""
    clock = HandClock()
    store = ValkeyQuotaStore(
        link_to(server.url, prefix=fresh_prefix()), time_us=clock.now_us, monotonic=clock.monotonic
    )
    limits = tenant(concurrency=1).limits
    assert (await store.admit("t", limits, "long", PATIENCE)).limit_id == ""
    for number in range(4):
        clock.advance(8)
        store.renew()
        assert (await store.look("t", limits, PATIENCE)).slots == 1
        assert (await store.admit("t", limits, f"other{number}", PATIENCE)).limit_id == "concurrency"
    clock.advance(12)
    assert (await store.look("t", limits, PATIENCE)).slots == 0
    await store.aclose()


async def test_a_renewal_that_comes_late_brings_no_slot_back(server: StoreServer) -> None:
    """A connection was given up with the renewal on it, the slot was freed over the next one; then the server read it."""
    prefix, limits = fresh_prefix(), tenant(concurrency=1).limits
    store, late = (ValkeyQuotaStore(link_to(server.url, prefix=prefix)) for _ in range(2))
    for one in (store, late):
        assert (await one.admit("t", limits, "call", PATIENCE)).limit_id == ""
    store.release("t", "call")
    assert (await store.look("t", limits, PATIENCE)).slots == 0
    late.renew()
    assert (await late.look("t", limits, PATIENCE)).slots == 0
    await store.aclose()
    await late.aclose()


async def test_a_started_store_renews_by_itself(server: StoreServer) -> None:
    """As often as it is told, from its start on."""
    clock, prefix = HandClock(), fresh_prefix()
    link = link_to(server.url, prefix=prefix)
    store = ValkeyQuotaStore(link, time_us=clock.now_us, monotonic=clock.monotonic, renew_seconds=0.01)
    await store.start()
    await store.admit("t", tenant(concurrency=1).limits, "long", PATIENCE)
    clock.advance(8)
    with server.client() as client:
        slots = link.key("t", "slots")
        renewed = clock.now_us() + SLOT_LEASE_US
        await eventually(lambda: client.zscore(slots, "long") == renewed, "the lease begins anew")
    await store.aclose()


@pytest.mark.timed
async def test_a_released_slot_is_free_for_others_within_5_ms(server: StoreServer) -> None:
    """Also if the replica that held it asks nothing more. Held against round trips to the same server, as busy as it is."""
    prefix, limits = fresh_prefix(), tenant(concurrency=1).limits
    store, other = (ValkeyQuotaStore(link_to(server.url, prefix=prefix)) for _ in range(2))
    waits, round_trips = [], []
    async with lateness() as late:
        for number in range(10):
            await store.admit("t", limits, f"held{number}", PATIENCE)
            late_before = await late.settled()
            released = asked = time.perf_counter()
            store.release("t", f"held{number}")
            while (await other.look("t", limits, PATIENCE)).slots:
                round_trips.append(time.perf_counter() - asked)
                asked = time.perf_counter()
            waits.append(time.perf_counter() - released - (await late.settled() - late_before))
    # On top of the 5 ms come the notice's way and the answer's.
    assert statistics.median(waits) < 0.005 + 0.003 + 4 * statistics.mean(round_trips)
    await store.aclose()
    await other.aclose()


async def test_an_account_with_rights_to_the_prefix_alone_suffices(server: StoreServer) -> None:
    """The ACL that docs/operations.md gives: everything works, and nothing outside the prefix does."""
    prefix, password = fresh_prefix(), "a-long-password"
    rules = f"on >{password} resetchannels ~{prefix}* -@all {ACL_COMMANDS}"
    server.command("ACL", "SETUSER", "facegate", *rules.split())
    try:
        store = ValkeyQuotaStore(link_to(server.url, username="facegate", password=lambda: password, prefix=prefix))
        await store.start()
        limits = tenant(rate=(5, 5), concurrency=2, day=5).limits
        assert (await store.admit("t", limits, "1", PATIENCE)).limit_id == ""
        assert (await store.reserve("t", limits, "r", PATIENCE)).limit_id == ""
        store.release("t", "1")
        store.refund("t", "r")
        snapshot = await store.look("t", limits, PATIENCE)
        assert (snapshot.slots, snapshot.counts[Window.DAY].used) == (0, 0)
        await store.recover(PATIENCE)
        await store.aclose()
        stranger = ValkeyQuotaStore(
            link_to(server.url, username="facegate", password=lambda: password, prefix="other:")
        )
        with pytest.raises(Exception, match="refused"):
            await stranger.admit("t", limits, "1", PATIENCE)
        await stranger.aclose()
    finally:
        server.command("ACL", "DELUSER", "facegate")
