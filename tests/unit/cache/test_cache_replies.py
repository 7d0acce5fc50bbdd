"""What is read of a store's reply, piece by piece and against a server that never ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import InvalidResponse, NoScriptError, ResponseError

from gateway.cache.replies import MAX_REPLY_BYTES, BoundedParser, ClusterParser, OversizeReply


class Endless:
    """A stream of one piece again and again; counts what is taken."""

    def __init__(self, first: bytes, piece: bytes) -> None:
        self._next = first
        self._piece = piece
        self.taken = 0

    async def read(self, size: int) -> bytes:
        while self._piece and len(self._next) < size:
            self._next += self._piece
        data, self._next = self._next[:size], self._next[size:]
        self.taken += len(data)
        return data


def parser_of(stream: object, kind: type[BoundedParser] = BoundedParser) -> BoundedParser:
    parser = kind(socket_read_size=65536)
    parser.on_connect(SimpleNamespace(_reader=stream))
    return parser


async def parsed(data: bytes, piece_bytes: int, kind: type[BoundedParser] = BoundedParser) -> Any:
    """The replies in `data`, which arrives in pieces."""
    stream = asyncio.StreamReader()
    parser = parser_of(stream, kind)
    replies = []

    async def read() -> None:
        while True:
            replies.append(await parser.read_response())

    reading = asyncio.create_task(read())
    for start in range(0, len(data), piece_bytes):
        stream.feed_data(data[start : start + piece_bytes])
        await asyncio.sleep(0)
    stream.feed_eof()
    with pytest.raises(StoreConnectionError):
        await reading
    return replies


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 65536])
async def test_replies_are_read_whatever_the_pieces(piece_bytes: int) -> None:
    """Every kind, one after the other, also where one array is in another."""
    data = b"+OK\r\n:-5\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n*0\r\n*3\r\n*2\r\n:1\r\n*0\r\n$1\r\nx\r\n$-1\r\n$0\r\n\r\n"
    assert await parsed(data, piece_bytes) == [b"OK", -5, b"a\r\n", None, None, [], [[1, []], b"x", None], b""]


async def test_an_error_is_returned_as_redis_py_expects() -> None:
    """By its class; the connection stays usable."""
    first, second, third = await parsed(b"-NOSCRIPT no\r\n-ERR what\r\n:1\r\n", 3)
    assert isinstance(first, NoScriptError)
    assert type(second) is ResponseError
    assert third == 1


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"$99999999999\r\n", b"x" * 65536),
        (b"$%d\r\n" % (MAX_REPLY_BYTES - 1), b"x" * 65536),
        (b"+", b"x" * 65536),
        (b"*16\r\n", b"$200000\r\n" + b"x" * 200_000 + b"\r\n"),
        (b"*99999\r\n", b":1\r\n"),
        (b"", b"*1\r\n"),
        (b"", b"*2\r\n:1\r\n"),
    ],
)
@pytest.mark.parametrize("kind", [BoundedParser, ClusterParser])
async def test_an_endless_reply_is_refused(first: bytes, piece: bytes, kind: type[BoundedParser]) -> None:
    """After the largest reply at most, and at once where the header says it."""
    stream = Endless(first or piece, piece)
    with pytest.raises(InvalidResponse):
        await asyncio.wait_for(parser_of(stream, kind).read_response(), 5)
    assert stream.taken <= MAX_REPLY_BYTES + 2 * 65536


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (b"$2097153\r\n", BoundedParser),
        (b"*17\r\n", BoundedParser),
        (b"*9\r\n*8\r\n", BoundedParser),
        (b"*50001\r\n", ClusterParser),
        (b"*100000000\r\n", ClusterParser),
        (b"*1\r\n" * 13, ClusterParser),
        (b"+" + b"x" * 5000, BoundedParser),
    ],
)
async def test_a_reply_that_announces_too_much_is_refused_by_its_header(
    header: bytes, kind: type[BoundedParser]
) -> None:
    """Nothing is kept for it, and nothing more is read."""
    with pytest.raises(OversizeReply):
        await parser_of(Endless(header, b""), kind).read_response()


@pytest.mark.parametrize(
    "reply", [b"$x\r\n", b"$-2\r\n", b":1.5\r\n", b":\r\n", b"%1\r\n", b"\r\n", b"$1\r\nab\r\n", b"*-2\r\n"]
)
async def test_what_is_no_reply_is_refused(reply: bytes) -> None:
    """Of RESP 3 too, which was not agreed upon."""
    with pytest.raises(InvalidResponse):
        await parser_of(Endless(reply, b"")).read_response()
