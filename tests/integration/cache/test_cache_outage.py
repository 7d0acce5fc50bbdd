"""A cache store that is out costs at most 50 ms once, says so in one log line, and fails nothing."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
import structlog

from gateway.cache.client import connect
from gateway.cache.epochs import Scope
from gateway.cache.results import Absent, CachedAnswer
from gateway.cache.valkey import BUDGET_SECONDS
from gateway.errors import GatewayOverloaded
from tests.support.cache import asked, found, keep
from tests.support.cache_replica import IMAGE, Replica, StartReplica, warm
from tests.support.conditions import eventually
from tests.support.connections import Connections
from tests.support.lateness import lateness
from tests.support.valkey import StoreServer, running_store

SLACK_SECONDS = 0.04
"""What a busy machine may add."""


class Proxy:
    """Stands before the store; `answer` turns the bytes of its replies into what the replica gets, after `delay`."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.answer: Callable[[bytes], bytes] = bytes
        self.url = ""

    @asynccontextmanager
    async def before(self, server: StoreServer) -> AsyncIterator[Proxy]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            to_store = await asyncio.open_connection(server.host, server.port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._copy(reader, to_store[1], lambda data: data, delayed=False))
                    group.create_task(self._copy(to_store[0], writer, lambda data: self.answer(data), delayed=True))  # noqa: PLW0108 - a test changes it later
            except* (OSError, asyncio.CancelledError):
                pass  # asyncio prints the cancellation of a connection's task
            finally:
                for end in (writer, to_store[1]):
                    end.transport.abort()
                    with contextlib.suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()

        connections = Connections(serve)
        listener = await asyncio.start_server(connections.accept, "127.0.0.1", 0)
        self.url = f"valkey://127.0.0.1:{listener.sockets[0].getsockname()[1]}/0"
        try:
            yield self
        finally:
            await connections.end(listener)

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        change: Callable[[bytes], bytes],
        *,
        delayed: bool,
    ) -> None:
        while data := await reader.read(65536):
            if delayed and self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            writer.write(change(data))
            await writer.drain()
        writer.close()


async def costs(call: Any) -> float:
    """How long the call took, in seconds."""
    began = time.perf_counter()
    await call
    return time.perf_counter() - began


async def in_time(*calls: Awaitable[float]) -> None:
    """All at once, each within the budget, less what this process was late."""
    async with lateness() as late:
        waited_seconds = await asyncio.gather(*calls)
        late_seconds = await late.settled()
    found = f"{sorted(waited_seconds)}, late by {late_seconds:.3f} s, at once by {late.longest_seconds:.3f} s at most"
    assert statistics.median(waited_seconds) - late_seconds < BUDGET_SECONDS + SLACK_SECONDS, found
    assert max(waited_seconds) - late_seconds < 0.3, found


async def suffer(replica: Replica) -> list[Any]:
    """Searches through an outage; returns what was logged. Checks what each search costs and gets."""
    key = replica.cache.key("kyc", "employees", IMAGE)
    with structlog.testing.capture_logs() as logs:
        replica.forget_front()
        await in_time(*(costs(replica.look()) for _ in range(20)))
        await eventually(lambda: not replica.store.available, "the store is found out")
        for _ in range(50):
            assert await replica.look() is Absent.OUT
            assert await keep(replica.cache, key, asked(), found(0.9)) is None
        # Half a second of further searches: none of them waits.
        slow = 0
        async with lateness() as late:
            for _ in range(50):
                late_before = late.seconds
                seconds = await costs(replica.look())
                slow += seconds - (await late.settled() - late_before) > 0.02
                await asyncio.sleep(0.01)
        assert slow <= 3
    return logs


@pytest.mark.parametrize("outage", ["killed", "paused"])
@pytest.mark.timed
async def test_a_store_that_is_gone_is_a_bypass_and_comes_back(
    server: StoreServer, start_replica: StartReplica, outage: str
) -> None:
    """One line when it goes, one when it is back, within 2 s; what it still holds is served again."""
    replica = await start_replica(budget=BUDGET_SECONDS)
    await warm(replica)
    if outage == "killed":
        server.kill()
    else:
        server.pause()
    logs = await suffer(replica)
    assert [line["event"] for line in logs] == ["cache.store_out"]
    with structlog.testing.capture_logs() as logs:
        if outage == "killed":
            server.start()
        else:
            server.resume()
        async with lateness() as late:
            began = time.monotonic()
            await eventually(lambda: replica.store.available, "the store is back")
            assert time.monotonic() - began - await late.settled() < 2.0
    events = [line["event"] for line in logs]
    assert events == (["cache.epochs_lost"] if outage == "killed" else []) + ["cache.store_back"]
    assert (await replica.look() is Absent.MISS) == (outage == "killed")
    await warm(replica)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: b"-READONLY no\r\n",
        lambda _: b"+OK\r\n",
        lambda _: b"\xff\x00garbage",
        lambda _: b"",
        lambda _: b"*-1",
    ],
    ids=["error", "wrong type", "garbage", "silence", "cut"],
)
@pytest.mark.timed
async def test_a_store_that_answers_nonsense_is_a_bypass(
    server: StoreServer, start_replica: StartReplica, answer: Callable[[bytes], bytes]
) -> None:
    """Whatever comes instead of an answer."""
    async with Proxy().before(server) as proxy:
        replica = await start_replica(url=proxy.url, budget=BUDGET_SECONDS)
        await warm(replica)
        proxy.answer = answer
        replica.forget_front()
        await in_time(*(costs(replica.look(image=b"photo %d" % n)) for n in range(5)))
        key = replica.cache.key("kyc", "employees", IMAGE)
        await keep(replica.cache, key, asked(), found(0.9))
        with pytest.raises(GatewayOverloaded):
            await replica.cache.purge(Scope("kyc"))


@pytest.mark.timed
async def test_a_slow_store_is_waited_for_once(server: StoreServer, start_replica: StartReplica) -> None:
    """A second a reply: the first searches wait 50 ms, the others not at all; fast again, it is used again."""
    async with Proxy().before(server) as proxy:
        replica = await start_replica(url=proxy.url, budget=BUDGET_SECONDS)
        await warm(replica)
        proxy.delay_seconds = 1.0
        logs = await suffer(replica)
        assert [line["event"] for line in logs] == ["cache.store_out"]
        proxy.delay_seconds = 0.0
        await eventually(lambda: replica.store.available, "the store is fast again")
        await warm(replica)


@pytest.mark.timed
async def test_a_crowd_before_a_sluggish_store_waits_no_longer_than_one(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """30 ms a reply is in time, but not for those who queue behind others: they go on without the cache."""
    async with Proxy().before(server) as proxy:
        replica = await start_replica(url=proxy.url, budget=BUDGET_SECONDS)
        await asyncio.gather(*(replica.look(image=b"first %d" % n) for n in range(60)))
        proxy.delay_seconds = 0.03
        await in_time(*(costs(replica.look(image=b"photo %d" % n)) for n in range(60)))


async def test_a_full_store_still_serves_and_still_purges(start_replica: StartReplica) -> None:
    """What it holds is a hit; what it refuses is not kept, at no wait, in one log line; a purge works."""
    with running_store(options=(("maxmemory-policy", "noeviction"),)) as server:
        replica = await start_replica(url=server.url)
        await warm(replica)
        server.command("CONFIG", "SET", "maxmemory", "1")
        with structlog.testing.capture_logs() as logs:
            for number in range(50):
                key = replica.cache.key("kyc", "employees", b"photo %d" % number)
                assert await keep(replica.cache, key, asked(), found(0.9)) is None
            replica.forget_front()
            assert isinstance(await replica.look(), CachedAnswer)
            assert replica.store.available
            await replica.cache.purge(Scope("kyc"))
            assert await replica.look() is Absent.MISS
        assert [line["event"] for line in logs] == ["cache.store_refuses_writes"]


async def test_starts_with_the_store_down_and_takes_it_up_later(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """Starting neither fails nor waits long; no answer is looked for until the epochs are known."""
    server.kill()
    replica = await start_replica()
    assert await replica.look() is Absent.OUT
    with pytest.raises(GatewayOverloaded):
        await replica.cache.purge(Scope())
    server.start()
    await eventually(lambda: replica.store.available, "the store is taken up")
    await warm(replica)


async def test_a_cancelled_lookup_leaves_no_connection_in_doubt(
    server: StoreServer, start_replica: StartReplica
) -> None:
    """200 lookups, each cancelled at some await, then 20 good ones on the same pool."""
    replica = await start_replica()
    await warm(replica)
    for step in range(200):
        replica.forget_front()
        task = asyncio.create_task(replica.look())
        for _ in range(step % 8):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    for _ in range(20):
        replica.forget_front()
        assert isinstance(await replica.look(), CachedAnswer)
    assert len(server.command("CLIENT", "LIST").splitlines()) <= 70  # type: ignore[attr-defined]


@pytest.mark.timed
async def test_a_client_keeps_no_more_than_its_connections_and_never_retries() -> None:
    """A dead server fails in milliseconds, not after redis-py's ten retries."""
    client = connect("valkey://127.0.0.1:1/0")
    began = time.perf_counter()
    with pytest.raises(redis.ConnectionError):
        await client.get("a")
    assert time.perf_counter() - began < 0.5
    await client.aclose()
