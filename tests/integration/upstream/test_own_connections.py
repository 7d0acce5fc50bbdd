"""What a transport of our own has to see to itself: when to stop writing, when to stop trusting a connection."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import aclosing
from typing import cast

import httpx
import pytest

from gateway.errors import ImageRejected, UpstreamUnavailable
from gateway.upstream import pool
from gateway.upstream.connection import READ_AHEAD_BYTES, WRITE_AHEAD_BYTES, Connection
from gateway.upstream.form import Pieces
from gateway.upstream.transport import open_transport
from tests.support.conditions import eventually
from tests.support.vendor import MATCH, OK, Vendor, always, found, json_response
from tests.support.vendor import Connection as Peer
from tests.support.vendor_client import client, query, trip

LARGE = b"\xff" * 5_242_880
TOO_LARGE = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"
ANOTHER = json_response(200, found(MATCH | {"person_id": 666}))


@pytest.mark.parametrize("hang_up", [False, True])
async def test_an_answer_before_the_image_was_read(hang_up: bool) -> None:
    """It counts, the rest of the image is not sent, and the connection, amid a request, carries no other."""

    async def impatient(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(TOO_LARGE)
        if hang_up:
            peer.writer.write_eof()
        await asyncio.sleep(0.05)
        await peer.until_gone()

    async with Vendor(impatient) as vendor, client(vendor.base_url) as upstream:
        for searches in (1, 2):
            with pytest.raises(ImageRejected):
                await upstream.search(query(LARGE), trip())
            await eventually(lambda: vendor.open == 0, "the connection is gone")
            assert vendor.accepted == searches


@pytest.mark.parametrize("header", ["connection: close", "Connection: keep-alive, Close"])
async def test_a_connection_that_the_vendor_gives_up_is_not_used_again(header: str) -> None:
    """`Connection: close` is believed, though the vendor leaves the connection open."""
    answer = json_response(200, found(dict(MATCH)), header)
    async with Vendor(always(answer)) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
        await upstream.search(query(), trip())
        assert vendor.accepted == 2


async def test_a_vendor_of_http_1_0_is_understood() -> None:
    """An answer without a length ends with its connection; each search has its own."""
    answer = OK.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"content-length", b"x-length")

    async def old(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with Vendor(old) as vendor, client(vendor.base_url) as upstream:
        for _ in range(2):
            assert (await upstream.search(query(), trip())).matches[0].person_id == MATCH["person_id"]
        assert vendor.accepted == 2


async def test_a_vendor_that_closes_its_half() -> None:
    """After an answer that ends the connection's use; before one it is an outage, at once."""

    async def half(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.send(OK)
        peer.writer.write_eof()
        await peer.until_gone()

    async with Vendor(half) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
        await eventually(lambda: vendor.open == 0, "our half is closed too")
        started = time.monotonic()
        with pytest.raises(UpstreamUnavailable):
            await upstream.search(query(), trip())
        assert time.monotonic() - started < 10.0
        assert vendor.accepted == 2


async def test_bytes_that_the_loop_has_not_read_yet() -> None:
    """An unasked answer that waits in the socket, unseen by the event loop, is not taken for the next search's."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30.0)
    accepted: list[socket.socket] = []
    sent = threading.Event()

    def serve() -> None:
        for extra in (ANOTHER, b""):
            peer, _ = listener.accept()
            accepted.append(peer)
            while b"--\r\n" not in peer.recv(65536):
                pass
            peer.sendall(OK)
            if extra:
                assert sent.wait(30.0)
                peer.sendall(extra)
                sent.clear()

    thread = threading.Thread(target=serve)
    thread.start()
    async with client(f"http://127.0.0.1:{listener.getsockname()[1]}") as upstream:
        await upstream.search(query(), trip())
        sent.set()
        # The loop stands still meanwhile, as it does in a busy moment.
        while sent.is_set():
            time.sleep(0.01)  # noqa: ASYNC251
        assert (await upstream.search(query(), trip())).matches[0].person_id == MATCH["person_id"]
    thread.join()
    for end in (listener, *accepted):
        end.close()
    assert len(accepted) == 2


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody needs is given up before the vendor's own timer ends it amid a request."""
    monkeypatch.setattr(pool, "KEEP_SECONDS", 0.05)
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        await asyncio.gather(*(upstream.search(query(), trip()) for _ in range(3)))
        await eventually(lambda: vendor.open == 0, "all are closed")


# The stock loop of Python 3.12.0 to 3.12.8, 3.13.0 and 3.13.1 never pauses a writer of several pieces (CVE-2024-12254).
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_a_slow_reader_holds_the_image_back() -> None:
    """What is written waits for the vendor to read: of 5 MB a few pieces are in flight, and all of it arrives."""
    go = asyncio.Event()

    async def slow(peer: Peer) -> None:
        transport = cast("asyncio.ReadTransport", peer.writer.transport)
        transport.pause_reading()
        await go.wait()
        transport.resume_reading()
        await peer.request()
        await peer.send(OK)
        await peer.until_gone()

    async with Vendor(slow) as vendor:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(Connection, "127.0.0.1", vendor.port)
        head = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(LARGE)
        asking = asyncio.create_task(connection.ask(head, Pieces(b"", LARGE, b"", "multipart")))
        await eventually(lambda: transport.get_write_buffer_size() > 0, "the socket is full")
        await asyncio.sleep(0.05)
        assert transport.get_write_buffer_size() <= 2 * WRITE_AHEAD_BYTES
        assert not asking.done()
        go.set()
        assert (await asking).code == 200
        assert vendor.received[0].body == LARGE
        connection.abort()


async def test_a_body_that_nobody_reads_stays_with_the_vendor() -> None:
    """A flood does not fill memory: a connection reads ahead a little, and stops."""

    async def flood(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50000000\r\n\r\n")
        while True:
            await peer.send(b" " * 65536)

    async with Vendor(flood) as vendor:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", vendor.port)
        answer = await connection.ask(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n", httpx.ByteStream(b""))
        await asyncio.sleep(0.1)
        assert sum(map(len, answer.chunks)) <= READ_AHEAD_BYTES + 262_144
        read = 0
        async with aclosing(connection.body(answer)) as body:
            async for piece in body:
                read += len(piece)
                if read > 2_000_000:
                    break
        assert not connection.is_clean
        connection.abort()


@pytest.mark.parametrize(
    ("url", "headers", "fault"),
    [
        ("http://127.0.0.1:1/", [(b"x", b"a\r\nx-evil: 1")], httpx.LocalProtocolError),
        ("http://127.0.0.1:1/", [(b"x", b"a\nx-evil: 1")], httpx.LocalProtocolError),
        ("http://127.0.0.1:1/", [(b"x\r\ny", b"a")], httpx.LocalProtocolError),
        ("http://127.0.0.1:1/", [(b"x", b"a\0")], httpx.LocalProtocolError),
        ("http://127.0.0.1:2/", [], httpx.UnsupportedProtocol),
        ("http://elsewhere.example/", [], httpx.UnsupportedProtocol),
    ],
)
async def test_what_is_not_sent(url: str, headers: list[tuple[bytes, bytes]], fault: type[Exception]) -> None:
    """No value of a header can make a second request, and no request for another host goes out."""
    transport = open_transport(httpx.URL("http://127.0.0.1:1/"), None, 1.0)
    request = httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(b""))
    with pytest.raises(fault):
        await transport.handle_async_request(request)
    await transport.aclose()
