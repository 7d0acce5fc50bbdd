"""The gate, the ledger and their links over a store that answers nonsense: an outage by the policy, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import structlog.testing

from gateway.clock import SystemClock
from gateway.errors import QuotaUnavailable
from gateway.quota.gate import OutagePolicy, QuotaGate
from gateway.quota.link import link_to
from gateway.quota.store import Charge, OutageCause, StoreUnavailable
from gateway.quota.usage import Batch, Figures
from gateway.quota.usage_valkey import ValkeyUsageStore
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.lateness import lateness
from tests.support.lying_store import Answer, LyingStore, echo_of, lying_store, packed, with_echo
from tests.support.quota import PATIENCE, tenant

WHO = tenant(rate=(100, 100), concurrency=9, day=100)
NOW = 1_763_800_000_000_000


def always(reply: bytes) -> Answer:
    return lambda _: reply


LIES: dict[str, Answer] = {
    "a list of 100,000,000": always(b"*100000000\r\n:1\r\n"),
    "a list of 100,000,000 inside": lambda command: b"*2\r\n" + packed(echo_of(command)) + b"*100000000\r\n",
    "deep nesting": always(b"*1\r\n" * 10_000),
    "a map": always(b"%1\r\n*0\r\n:1\r\n"),
    "null": always(b"$-1\r\n"),
    "a number": always(b":5\r\n"),
    "OK": always(b"+OK\r\n"),
    "an empty list": always(b"*0\r\n"),
    "its echo alone": with_echo(),
    "too much": with_echo(b"ok", b"b1", 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "wrong types": with_echo(7, 7, b"ok", b"ok", [b"ok"]),
    "nothing but zeros": with_echo(0, 0, 0, 0),
    "a verdict that there is not": with_echo(b"maybe", b"b1", 0, 0),
    "a birth in no encoding": with_echo(b"ok", b"\xff\xfe", 0, 0),
    "a number below 0": with_echo(b"ok", b"b1", 0, -1),
    "a number that is too large": with_echo(b"ok", b"b1", 0, 2**63 - 1),
    "a wait of a year": with_echo(b"rate", b"b1", 31_536_000_000_000, 0),
    "lost, always": with_echo(b"lost", b"b1", 0, 0),
    "an unknown error": always(b"-WHATEVER \xff\xfe *100000000\r\n"),
    "an error without a word": always(b"-\r\n"),
    "MOVED without a place": always(b"-MOVED\r\n"),
    "MOVED to nonsense": always(b"-MOVED 5 host:port\r\n"),
    "ASK for nonsense": always(b"-ASK 5 \x00:99999\r\n"),
    "NOSCRIPT, always": always(b"-NOSCRIPT no\r\n"),
    "another's echo": always(packed(b"another", b"ok", b"b1", 0, 0)),
}


@pytest.fixture(params=["one server", "a cluster"])
def url_of(request: pytest.FixtureRequest) -> Callable[[LyingStore], str]:
    """How the store is named. A cluster's map is asked first, and is the lie as well."""
    if request.param == "one server":
        return lambda store: f"valkey://{store.place}/0"
    return lambda store: f"valkey://{store.place},{store.place}"


@contextlib.asynccontextmanager
async def gate_over(url: str, policy: str) -> AsyncIterator[QuotaGate]:
    store = ValkeyQuotaStore(link_to(url))
    gate = QuotaGate(
        store, clock=SystemClock(), policy=OutagePolicy(policy), budget_seconds=PATIENCE, probe_seconds=0.02
    )
    try:
        yield gate
    finally:
        await gate.aclose()


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Less than a megabyte at any moment; a list of 100,000,000 takes 800."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_nonsense_is_an_outage_by_the_policy(lie: Answer, url_of: Callable[[LyingStore], str]) -> None:
    """Never another error than the policy's, whoever asks; and what was expected of the store is still answered."""
    with structlog.testing.capture_logs() as log, little_memory():
        async with lying_store(lie) as store:
            async with gate_over(url_of(store), "share") as gate:
                with await gate.admit(WHO) as admission:
                    assert admission.degraded
                    assert (await admission.reserve()).degraded
                assert gate.degraded
                assert (await gate.limits(WHO)).degraded
            async with gate_over(url_of(store), "deny") as gate:
                with pytest.raises(QuotaUnavailable):
                    await gate.admit(WHO)
    assert "quota.recovery_failed" not in [entry["event"] for entry in log]


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_no_method_of_the_stores_raises_anything_else(lie: Answer, url_of: Callable[[LyingStore], str]) -> None:
    """`StoreUnavailable`, or an answer that is in range. What is told in the background raises nothing."""
    async with lying_store(lie) as liar:
        link = link_to(url_of(liar))
        store, usage = ValkeyQuotaStore(link), ValkeyUsageStore(link)
        questions: list[Callable[[], Awaitable[object]]] = [
            lambda: store.admit("t", WHO.limits, "c", PATIENCE),
            lambda: store.reserve("t", WHO.limits, "r", PATIENCE),
            lambda: store.look("t", WHO.limits, PATIENCE),
            lambda: store.charge("t", [Charge("r", {})], PATIENCE),
            lambda: store.recover(PATIENCE),
            lambda: usage.add(Batch("b", "t", {0: Figures()}), PATIENCE),
            lambda: usage.read("t", [0, 86_400], PATIENCE),
        ]
        for ask in questions:
            with contextlib.suppress(StoreUnavailable):
                await ask()
        store.release("t", "c")
        store.refund("t", "r")
        await store.aclose()


@pytest.mark.parametrize("start", [b"$2000000000\r\n", b"+", b"-", b"*4000\r\n$9999999\r\n", b"x"])
@pytest.mark.timed
async def test_a_reply_without_end_is_given_up(start: bytes) -> None:
    """After some tens of KB, with the connection; the event loop goes on meanwhile."""
    async with lying_store(always(start)) as store, lateness() as late:
        store.endless = b"x" * 60_000
        with little_memory():
            link = link_to(f"valkey://{store.place}/0")
            quota = ValkeyQuotaStore(link)
            with pytest.raises(StoreUnavailable) as failure:
                await quota.admit("t", WHO.limits, "c", PATIENCE)
            assert failure.value.cause is OutageCause.MALFORMED
        connections = store.connections
        with pytest.raises(StoreUnavailable):
            await quota.admit("t", WHO.limits, "d", PATIENCE)
        assert store.connections > connections
        assert late.seconds < 1.0
        await quota.aclose()


async def test_a_store_that_swallows_everything_does_not_fill_the_memory() -> None:
    """A paused server takes no bytes: what is sent to it waits in this process, so its connection is given up in time."""
    held = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = link_to(f"valkey://127.0.0.1:{port}/0")
    usage, days = ValkeyUsageStore(link), [86_400 * day for day in range(400)]
    connections = set()

    async def given_up() -> bool:
        lane = await link._nodes.lane(b"t", 0.0)
        connections.add(id(lane._connection))
        return lane._connection is not None and lane._connection.closed

    async with asyncio.timeout(20):
        while not await given_up():
            with contextlib.suppress(StoreUnavailable):
                await usage.read("t", days, 0.02)
    link.disconnect()
    held.set()
    server.close()


async def test_a_malformed_answer_costs_the_connection() -> None:
    """What follows on it may be anything: the next question goes over a new one."""
    async with lying_store(with_echo(b"maybe", b"b1", 0, 0)) as store:
        quota = ValkeyQuotaStore(link_to(f"valkey://{store.place}/0"))
        for number in range(1, 4):
            with pytest.raises(StoreUnavailable):
                await quota.admit("t", WHO.limits, f"c{number}", PATIENCE)
            assert store.connections == number
        await quota.aclose()


async def test_garbage_is_named_in_the_log() -> None:
    """So that an operator knows it from a store that is down: one line, with the cause."""
    with structlog.testing.capture_logs() as log:
        async with lying_store(with_echo(b"ok")) as store, gate_over(f"valkey://{store.place}/0", "share") as gate:
            for _ in range(5):
                (await gate.admit(WHO)).release()
    lost = [entry for entry in log if entry["event"] == "quota.store_lost"]
    assert [entry["cause"] for entry in lost] == ["malformed"]
