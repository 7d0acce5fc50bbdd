"""Everything that can go wrong on the way to the vendor, over real sockets, and what it is for callers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import (
    Cancelled,
    GatewayOverloaded,
    UpstreamBadResponse,
    UpstreamFailure,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.model import Outcome
from gateway.rpc.status import status_of
from gateway.upstream.pool import Pool
from tests.support.conditions import eventually
from tests.support.vendor import OK, Behaviour, Connection, Vendor, always
from tests.support.vendor_client import client, query, trip

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def after_request(*steps: bytes | Callable[[Connection], Awaitable[None] | None]) -> Behaviour:
    """Reads a request, then sends bytes or acts, step by step, and closes."""

    async def behave(connection: Connection) -> None:
        await connection.request()
        for step in steps:
            if isinstance(step, bytes):
                await connection.send(step)
            elif (waiting := step(connection)) is not None:
                await waiting

    return behave


async def drip(connection: Connection) -> None:
    """A byte every 20 ms, so that no single read takes long."""
    while True:
        await connection.send(b"1\r\n \r\n")
        await asyncio.sleep(0.02)


async def drip_head(connection: Connection) -> None:
    """The head, a byte every 20 ms."""
    for byte in b"HTTP/1.1 200 OK\r\nx-pad: " + b"a" * 8000:
        await connection.send(bytes([byte]))
        await asyncio.sleep(0.02)


def pause(connection: Connection) -> Awaitable[None]:
    """Lets what was sent arrive before what comes next."""
    return asyncio.sleep(0.05)


async def failure_of(behaviour: Behaviour, image: bytes = b"image", **overrides: Any) -> UpstreamFailure:
    """What a search raises with such a vendor; nothing may be left of it."""
    async with Vendor(behaviour) as vendor, client(vendor.base_url, **overrides) as upstream:
        before = asyncio.all_tasks()
        with pytest.raises(UpstreamFailure) as caught:
            await upstream.search(query(image), trip())
        await eventually(lambda: vendor.open == 0, "the connection is gone")
        # What is left are the server's own, which ended with their connections.
        await eventually(lambda: asyncio.all_tasks() <= before, "no task is left")
        assert upstream._slots.in_use == 0
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return caught.value


@pytest.mark.parametrize(
    ("steps", "kind", "status"),
    [
        ((Connection.reset,), UpstreamUnavailable, "connection_lost"),
        ((), UpstreamUnavailable, "connection_lost"),
        ((b"HTTP/1.1 200 OK\r\nconte",), UpstreamUnavailable, "connection_lost"),
        ((HEAD, pause, Connection.reset), UpstreamUnavailable, "connection_lost"),
        ((HEAD + b'{"status"', pause, Connection.reset), UpstreamUnavailable, "connection_lost"),
        ((HEAD + b'{"status": "OK"',), UpstreamUnavailable, "connection_lost"),
        ((CHUNKED + b"5\r\n{",), UpstreamUnavailable, "connection_lost"),
        ((CHUNKED + b"1\r\n{\r\n",), UpstreamUnavailable, "connection_lost"),
        ((CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",), UpstreamBadResponse, "protocol_error"),
        ((CHUNKED, pause, b"zz\r\n{}\r\n0\r\n\r\n"), UpstreamBadResponse, "protocol_error"),
        (
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" + b'{"status": "OK", "result": []}',),
            UpstreamBadResponse,
            "protocol_error",
        ),
        (
            (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",),
            UpstreamBadResponse,
            "protocol_error",
        ),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",), UpstreamBadResponse, "protocol_error"),
        ((b"\x00\x01garbage\r\n\r\n",), UpstreamBadResponse, "protocol_error"),
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), UpstreamBadResponse, "protocol_error"),
        ((b"HTTP/1.1 999999 X\r\n\r\n",), UpstreamBadResponse, "protocol_error"),
        ((b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",), UpstreamBadResponse, "protocol_error"),
        (
            (b"HTTP/1.1 200 OK\r\n" + b"".join(b"x%d: 1\r\n" % n for n in range(5000)) + b"\r\n",),
            UpstreamBadResponse,
            "protocol_error",
        ),
        (
            (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",),
            UpstreamBadResponse,
            "not_json",
        ),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), UpstreamBadResponse, "not_json"),
    ],
)
async def test_a_broken_answer(steps: tuple[Any, ...], kind: type[UpstreamFailure], status: str) -> None:
    """A connection that ends before the answer does is an outage; bytes that are no HTTP are a bad response."""
    failure = await failure_of(after_request(*steps))
    assert (type(failure), failure.upstream_status) == (kind, status)


@pytest.mark.parametrize(
    "steps",
    [
        (Connection.until_gone,),
        (HEAD, Connection.until_gone),
        (HEAD + b'{"status": "OK"', Connection.until_gone),
        (CHUNKED, drip),
        (drip_head,),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, Connection.until_gone),
    ],
)
async def test_a_slow_answer_ends_at_the_total_timeout(steps: tuple[Any, ...]) -> None:
    """Whatever the vendor does to be slow, byte by byte or not at all, a search ends at its total timeout."""
    started = time.monotonic()
    # A drip alone goes on for minutes.
    async with asyncio.timeout(30):
        failure = await failure_of(after_request(*steps), timeout_seconds=0.4)
    assert (type(failure), failure.upstream_status) == (UpstreamTimeout, "timeout")
    assert time.monotonic() - started >= 0.35


async def test_a_vendor_that_does_not_read() -> None:
    """An upload that stalls ends at the timeout, and the socket with it, though bytes are still unsent."""

    async def deaf(connection: Connection) -> None:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with Vendor(deaf) as vendor, client(vendor.base_url, timeout_seconds=0.4) as upstream:
        descriptors = _connections_to(vendor.port)
        with pytest.raises(UpstreamTimeout):
            await upstream.search(query(b"\xff" * 5_242_880), trip())
        await eventually(lambda: _connections_to(vendor.port) == descriptors, "the socket is closed")


async def test_a_verdict_before_the_upload_ends() -> None:
    """A vendor may answer, and hang up, before it has read the image: its verdict counts."""

    async def impatient(connection: Connection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
        await pause(connection)
        await connection.until_gone()

    failure = await failure_of(impatient, image=b"\xff" * 5_242_880)
    assert failure.upstream_status == "http_503"


async def test_nobody_listens() -> None:
    """A refused connection is an outage."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with client(f"http://127.0.0.1:{unused.getsockname()[1]}") as upstream:
            with pytest.raises(UpstreamUnavailable) as caught:
                await upstream.search(query(), trip())
    assert caught.value.upstream_status == "connect_error"


async def test_no_such_host() -> None:
    """A name that does not resolve is an outage."""
    async with client("https://face-search.invalid") as upstream:
        with pytest.raises(UpstreamUnavailable) as caught:
            await upstream.search(query(), trip())
    assert caught.value.upstream_status == "connect_error"


async def test_a_slow_connect_is_a_time_out() -> None:
    """A host that does not accept (its queue is full) ends in UPSTREAM_TIMEOUT, not in an outage."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        try:
            async with client(f"http://127.0.0.1:{full.getsockname()[1]}", timeout_seconds=4.0) as upstream:
                with pytest.raises(UpstreamTimeout) as caught:
                    await upstream.search(query(), trip())
        finally:
            for filler in fillers:
                filler.close()
    assert caught.value.upstream_status == "connect_timeout"
    assert "grpc-retry-pushback-ms" not in dict(status_of(caught.value, "r1").trailers), "nothing was sent"


async def test_a_search_whose_callers_leave_while_it_connects_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is kept for the next one."""
    connect, connecting, go_on = Pool.connect, asyncio.Event(), asyncio.Event()

    async def slowly(pool: Pool) -> Any:
        connecting.set()
        await go_on.wait()
        return await connect(pool)

    monkeypatch.setattr(Pool, "connect", slowly)
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        who = trip()
        search = asyncio.create_task(upstream.search(query(), who))
        await connecting.wait()
        who.leave()
        go_on.set()
        with pytest.raises(Cancelled):
            await search
        assert (who.attempts, vendor.received) == (0, [])
        await upstream.search(query(), trip())
        assert (vendor.accepted, len(vendor.received)) == (1, 1)


async def test_a_full_pool_refuses_soon() -> None:
    """With every connection taken a search is told to come back, long before its timeout; then all is well."""
    release = asyncio.Event()

    async def held(connection: Connection) -> None:
        while True:
            await connection.request()
            await release.wait()
            await connection.send(OK)

    async with Vendor(held) as vendor, client(vendor.base_url, max_connections=2) as upstream:
        first = [asyncio.create_task(upstream.search(query(), trip())) for _ in range(2)]
        await eventually(lambda: len(vendor.received) == 2, "both connections are taken")
        started = time.monotonic()
        with pytest.raises(GatewayOverloaded) as caught:
            await upstream.search(query(), trip())
        assert time.monotonic() - started < 5.0
        assert caught.value.retry_after_seconds == 1.0
        waiting = asyncio.create_task(upstream.search(query(), trip()))
        await asyncio.sleep(0)
        release.set()
        answers = await asyncio.gather(*first, waiting)
        assert [answer.outcome for answer in answers] == [Outcome.MATCHED] * 3
        assert vendor.accepted == 2


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY and its kin would send the secrets somewhere else."""
    async with Vendor(always(OK)) as proxy, Vendor(always(OK)) as vendor:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        async with client(vendor.base_url) as upstream:
            await upstream.search(query(), trip())
        assert (proxy.accepted, vendor.accepted) == (0, 1)


def _connections_to(port: int) -> int:
    """TCP connections of this machine whose far end is the local `port`, from either end."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(1 for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01")
