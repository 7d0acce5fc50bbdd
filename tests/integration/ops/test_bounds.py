"""What a stranger can do to the operators' listener: the names he comes by, and what his connections may hold."""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.ops.connections import Bounds
from gateway.ops.listener import Readiness, no_metrics, no_status, serve_ops
from gateway.ops.rendered import BURST, PER_SECOND
from gateway.telemetry.instruments import Collected, Kind, Metric
from tests.support.clock import ManualClock
from tests.support.conditions import eventually

SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
PRIVATE = "tenant kyc"


@asynccontextmanager
async def listening(
    *,
    metrics: Callable[[], Iterable[Collected]] = no_metrics,
    status: Callable[[], Awaitable[dict[str, Any]]] = no_status,
    clock: ManualClock | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> AsyncIterator[int]:
    """A listener's port."""
    state = Readiness(True, (PRIVATE,))
    async with serve_ops(
        "127.0.0.1:0",
        lambda: state,
        clock=clock or ManualClock(),
        metrics=metrics,
        status=status,
        allowed_hosts=("faces.corp.example",),
        bounds=bounds,
    ) as address:
        yield int(address.rpartition(":")[2])


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection."""
    return await asyncio.open_connection("127.0.0.1", port)


async def answer(port: int, request: bytes) -> bytes:
    """All that comes back for these bytes, until the listener closes."""
    reader, writer = await connected(port)
    writer.write(request)
    try:
        return await until_closed(reader)
    finally:
        writer.close()


async def until_closed(reader: asyncio.StreamReader, within_seconds: float = 10.0) -> bytes:
    """What is read until the other side ends the connection, in whatever way."""
    found = b""
    async with asyncio.timeout(within_seconds):
        try:
            while piece := await reader.read(65_536):
                found += piece
        except ConnectionError:
            pass
    return found


def one_metric(value: float) -> Collected:
    return Collected(Metric("facegate.test", Kind.GAUGE, "1", "For tests."), (((), value),))


def get(path: str, host: str) -> bytes:
    """A request that comes by the name `host`."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9464"])
async def test_a_name_that_may_be_a_strangers_reads_nothing(host: str) -> None:
    """DNS rebinding: the answer names the setting. Probes are answered, with one word."""
    async with listening() as port:
        for path in ("/", "/metrics", "/status.json", "/nonsense"):
            refused = await answer(port, get(path, host))
            assert refused.startswith(b"HTTP/1.1 421 "), path
            assert refused.endswith(b"\r\n\r\nthis host name is not allowed: add it to ops.allowed_hosts\n")
        assert (await answer(port, get("/livez", host))).endswith(b"\r\n\r\nlive\n")
        assert (await answer(port, get("/readyz", host))).endswith(b"\r\n\r\nready\n")
        assert PRIVATE.encode() in await answer(port, get("/readyz", "localhost"))


async def test_a_listed_name_reads_everything() -> None:
    """`ops.allowed_hosts` reaches the listener."""
    async with listening() as port:
        assert b" 200 OK" in await answer(port, get("/status.json", "faces.corp.example"))


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_a_head_that_does_not_end_is_not_waited_for(sent: bytes) -> None:
    """The time counts from the connection's first moment; a byte now and then does not lengthen it."""
    async with listening(bounds=Bounds(head_seconds=0.2)) as port:
        reader, writer = await connected(port)
        writer.write(sent)

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip()) if sent else None
        assert await until_closed(reader) == b""
        if dripping is not None:
            dripping.cancel()
        writer.close()


async def test_a_head_that_is_too_large_is_refused() -> None:
    """By its own size, not by what follows it."""
    async with listening(bounds=Bounds(max_head_bytes=2_000)) as port:
        large = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 4_000
        assert (await answer(port, large)).startswith(b"HTTP/1.1 431 ")
        assert (await answer(port, large + b"\r\n\r\n")).startswith(b"HTTP/1.1 431 ")
        assert (await answer(port, SCRAPE + b"x" * 4_000)).startswith(b"HTTP/1.1 200 ")


async def test_a_reader_who_never_reads_is_not_waited_for() -> None:
    """His answer is larger than what the kernel keeps, and its rest is given up."""
    large = 32 * 1024 * 1024

    async def status() -> dict[str, Any]:
        return {"large": "x" * large}

    loop = asyncio.get_running_loop()
    async with listening(status=status, bounds=Bounds(answer_seconds=0.3)) as port:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, get("/status.json", "localhost"))
            poller = select.poll()
            poller.register(client, 0)
            await eventually(lambda: bool(poller.poll(0)), "the listener ends the connection")


async def test_a_probe_is_answered_whatever_the_others_do() -> None:
    """Silent connections end for it, the oldest first; an answer under way does not."""
    released = asyncio.Event()

    async def status() -> dict[str, Any]:
        await released.wait()
        return {"answered": True}

    async with listening(status=status, bounds=Bounds(max_connections=8, head_seconds=60)) as port:
        waiting = await connected(port)
        waiting[1].write(get("/status.json", "localhost"))
        silent = [await connected(port) for _ in range(40)]
        for _ in range(8):
            assert (await answer(port, get("/livez", "10.0.0.1"))).endswith(b"live\n")
        assert [await until_closed(reader) for reader, _ in silent[:32]] == [b""] * 32
        released.set()
        assert b'"answered":true' in await until_closed(waiting[0])
        for _, writer in (waiting, *silent):
            writer.close()


async def test_a_probe_is_answered_while_every_place_waits_for_an_answer() -> None:
    """Then the oldest of those ends."""
    released = asyncio.Event()

    async def status() -> dict[str, Any]:
        await released.wait()
        return {"answered": True}

    async with listening(status=status, bounds=Bounds(max_connections=8)) as port:
        askers = []
        for _ in range(30):
            asker = await connected(port)
            asker[1].write(get("/status.json", "localhost"))
            askers.append(asker)
        assert (await answer(port, get("/livez", "localhost"))).endswith(b"live\n")
        assert await until_closed(askers[0][0]) == b""
        # Nobody works for those who are gone: a connection has two tasks.
        await eventually(lambda: len(asyncio.all_tasks()) < 8 * 2 + 8, "the tasks of ended connections end")
        released.set()
        answers = [await until_closed(reader) for reader, _ in askers]
        assert 0 < sum(b'"answered":true' in found for found in answers) <= 8
        for _, writer in askers:
            writer.close()


async def test_a_connection_brings_one_answer() -> None:
    """Pipelined requests are not read: 220 KB of them bring one page, not 5,000."""
    async with listening(metrics=lambda: [one_metric(7)]) as port:
        found = await answer(port, SCRAPE * 5_000)
    assert found.count(b"HTTP/1.1 200 OK") <= 1
    assert len(found) < 2_000


async def test_a_body_is_not_read() -> None:
    """It may be as long as it likes: the answer does not wait for it."""
    async with listening() as port:
        request = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nx"
        assert b" 405 " in await answer(port, request)


async def test_a_caller_may_close_its_side_first() -> None:
    """As `nc -N` does once it has sent its request."""
    async with listening() as port:
        reader, writer = await connected(port)
        writer.write(get("/livez", "localhost"))
        writer.write_eof()
        assert (await until_closed(reader)).endswith(b"live\n")
        writer.close()


async def test_the_metrics_are_collected_once_for_all_who_come_together() -> None:
    """One render at a time, for as many as wait for it."""
    released, renders = asyncio.Event(), 0

    async def status() -> dict[str, Any]:
        nonlocal renders
        renders += 1
        await released.wait()
        return {"answered": True}

    async with listening(status=status) as port:
        answers = [asyncio.create_task(answer(port, get("/status.json", "localhost"))) for _ in range(30)]
        await eventually(lambda: renders > 0, "the first render begins")
        assert (await answer(port, get("/livez", "localhost"))).endswith(b"live\n")
        released.set()
        assert all(b'"answered":true' in found for found in await asyncio.gather(*answers))
    assert renders == 1


async def test_a_flood_of_scrapes_costs_a_few_renders() -> None:
    """Each scrape is fresh until a burst is used up; then so many a second, and the last page between them."""
    clock = ManualClock()
    count = 0

    def metrics() -> Iterable[Collected]:
        nonlocal count
        count += 1
        return [one_metric(count), one_metric(count)]

    async with listening(metrics=metrics, clock=clock) as port:
        assert (await answer(port, SCRAPE)).endswith(b"facegate_test 1\n")
        assert (await answer(port, SCRAPE)).endswith(b"facegate_test 2\n")
        flood = [await answer(port, SCRAPE) for _ in range(2 * BURST)]
        assert count == 1 + BURST
        assert flood[-1].endswith(f"facegate_test {count}\n".encode())
        clock.advance(1 / PER_SECOND)
        later = [await answer(port, SCRAPE) for _ in range(3)]
        assert later[-1].endswith(f"facegate_test {2 + BURST}\n".encode())


async def test_a_render_that_fails_is_tried_again_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One bad moment is one bad answer. Bytes that are no HTTP are no line in the log: a stranger chooses their number."""
    failures = [RuntimeError()]

    def metrics() -> Iterable[Collected]:
        if failures:
            raise failures.pop()
        return [one_metric(7)]

    with caplog.at_level(logging.WARNING):
        async with listening(metrics=metrics) as port:
            assert b" 400 " in await answer(port, b"\x16\x03\x01 nonsense\r\n\r\n")
            assert b" 400 " in await answer(port, b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
            assert caplog.records == []
            assert b" 500 " in await answer(port, SCRAPE)
            assert len(caplog.records) == 1
            assert (await answer(port, SCRAPE)).endswith(b"facegate_test 7\n")


async def test_whoever_leaves_takes_nobody_along() -> None:
    """The first to ask goes away while the page is made; the second gets it."""
    released, begun = asyncio.Event(), asyncio.Event()

    async def status() -> dict[str, Any]:
        begun.set()
        await released.wait()
        return {"answered": True}

    async with listening(status=status, bounds=Bounds(max_connections=2)) as port:
        first = await connected(port)
        first[1].write(get("/status.json", "localhost"))
        await begun.wait()
        second = await connected(port)
        second[1].write(get("/status.json", "localhost"))
        # Both places are taken: this one ends the first.
        assert (await answer(port, get("/livez", "localhost"))).endswith(b"live\n")
        released.set()
        assert b'"answered":true' in await until_closed(second[0])
        assert await until_closed(first[0]) == b""
        for _, writer in (first, second):
            writer.close()
