"""Keep-alive pings as clients commonly send them harm nobody; a flood of them ends its connection."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, PingAckReceived

from gateway import server
from tests.support.gateway import running
from tests.support.upstream import FakeUpstream

INTERVAL = "grpc.http2.min_ping_interval_without_data_ms"
# The shortest that the clients of Go and Java allow, and so what most people set.
COMMON_SECONDS = 10.0
SCALE = 1 / 50
PINGS = 6


@pytest.fixture(autouse=True)
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's limit, at the scale of the tests' pings."""
    monkeypatch.setitem(server.CALLER_OPTIONS, INTERVAL, int(server.CALLER_OPTIONS[INTERVAL] * SCALE))


class Pinging:
    """A connection that sends nothing but pings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = H2Connection()
        self._h2.initiate_connection()
        self.answered = 0
        self.ended: ConnectionTerminated | None = None

    def send(self, count: int = 1) -> None:
        """Pings at once."""
        for _ in range(count):
            self._h2.ping(b"12345678")
        self._writer.write(self._h2.data_to_send())

    async def until_answered(self, count: int) -> None:
        """Waits for the answers to so many pings, or for the connection's end."""
        while self.answered < count and self.ended is None:
            received = await self._reader.read(65536)
            assert received, "the connection ended without a word"
            for event in self._h2.receive_data(received):
                self.answered += isinstance(event, PingAckReceived)
                if isinstance(event, ConnectionTerminated):
                    self.ended = event
            self._writer.write(self._h2.data_to_send() if self.ended is None else b"")


async def idle(address: str) -> None:
    """A connection without a call, seen frame by frame."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = Pinging(reader, writer)
    for number in range(PINGS):
        connection.send()
        # The next one leaves after the answer to this one, so no delay on the way brings them closer together.
        await connection.until_answered(number + 1)
        await asyncio.sleep(COMMON_SECONDS * SCALE)
    connection.send()
    await connection.until_answered(PINGS + 1)
    writer.close()
    assert connection.ended is None
    assert connection.answered == PINGS + 1


async def with_a_stream(address: str) -> None:
    """gRPC's own client, with a stream on which nothing is said: it would end with the connection."""
    milliseconds = int(COMMON_SECONDS * SCALE * 1000)
    options = (
        ("grpc.keepalive_time_ms", milliseconds),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    async with grpc.aio.insecure_channel(address, options) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(HealthCheckRequest())
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        ended: asyncio.Future[Any] = asyncio.ensure_future(watch.read())
        done, _ = await asyncio.wait((ended,), timeout=PINGS * COMMON_SECONDS * SCALE)
        assert not done, done.pop().exception()
        watch.cancel()
        await asyncio.wait((ended,))


async def test_the_commonest_keep_alive_ends_no_connection() -> None:
    """A ping every 10 s (here every 0.2 s), with and without a stream: GOAWAY too_many_pings would lose calls."""
    async with running(upstream=FakeUpstream()) as gateway:
        await asyncio.gather(idle(gateway.address), with_a_stream(gateway.address))


async def test_a_flood_of_pings_ends_its_connection() -> None:
    """Each ping costs the server an answer."""
    async with running(upstream=FakeUpstream()) as gateway:
        host, _, port = gateway.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        connection = Pinging(reader, writer)
        connection.send(100)
        await connection.until_answered(100)
        writer.close()
    assert connection.ended is not None
    assert connection.ended.additional_data == b"too_many_pings"
