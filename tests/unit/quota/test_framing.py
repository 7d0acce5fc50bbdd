"""How a store's bytes are cut into replies, and which are refused before they take memory."""

from __future__ import annotations

import tracemalloc

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quota.framing import REPLY_BYTES, MalformedReply, ReplyReader
from tests.support.lying_store import packed

HONEST = [
    packed(b"call", b"ok", b"birth", 0, 1_000_000_000),
    packed(b"read", *[[1, 2, 3, 4, 5, 6]] * 402),
    b"+PONG\r\n",
    b"$5\r\na*9\r\n\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    b"*0\r\n",
]
LIMIT = 65_536


def cut(data: bytes, lengths: list[int]) -> list[bytes]:
    """The data in pieces of these lengths, and what is left."""
    pieces = []
    for length in lengths:
        pieces.append(data[:length])
        data = data[length:]
    return [piece for piece in [*pieces, data] if piece]


@given(st.lists(st.sampled_from(HONEST), max_size=6), st.lists(st.integers(1, 4000), max_size=40))
def test_honest_replies_come_out_whole_however_they_are_cut(replies: list[bytes], lengths: list[int]) -> None:
    """The network cuts where it likes, also inside a header."""
    plain, reader = hiredis.Reader(), ReplyReader()
    found = [str(one) for piece in cut(b"".join(replies), lengths) for one in reader.feed(piece, LIMIT)]
    expected = []
    for reply in replies:
        plain.feed(reply)
        expected.append(str(plain.gets()))
    assert found == expected


def feed_all(reader: ReplyReader, data: bytes, size: int) -> None:
    """In pieces of `size`."""
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size], REPLY_BYTES)


LIES = {
    "a list of 100,000,000": b"*100000000\r\n:1\r\n",
    "a set of 100,000,000": b"~100000000\r\n",
    "a map of 100,000,000": b"%100000000\r\n",
    "a push of 100,000,000": b">100000000\r\n",
    "a list of 100,000,000 in a list": b"*2\r\n:1\r\n*100000000\r\n",
    "lists of lists": b"*99\r\n" * 4000,
    "lists of long lists": b"*2\r\n*9999\r\n" * 4,
    "deep nesting": b"*1\r\n" * 10_000,
    "a map with a list as key": b"%1\r\n*0\r\n:1\r\n",
    "a number of 20 digits": b":99999999999999999999\r\n",
    "a number that is none": b":1.5\r\n",
    "a length of 5,000 digits": b"*" + b"9" * 5000 + b"\r\n",
    "a length with zeros in front": b"*0005\r\n",
    "a negative length": b"*-5\r\n",
    "no protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.mark.parametrize("size", [1, 3, 7, 100_000], ids=lambda size: f"pieces of {size}")
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_refused_before_it_takes_memory(lie: bytes, size: int) -> None:
    """However it is cut. hiredis alone would make room for a list as soon as it has read its length."""
    reader = ReplyReader()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedReply):
            feed_all(reader, lie, size)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 600_000


@pytest.mark.parametrize(
    "endless", [b"$2000000000\r\n" + b"x" * 60_000, b"+" + b"x" * 60_000, b"*4000\r\n" + b"$999999\r\n" + b"x" * 60_000]
)
def test_a_reply_that_does_not_end_is_refused(endless: bytes) -> None:
    """At its limit, give or take what one read of the socket brings."""
    reader = ReplyReader()
    feed_all(reader, endless[:REPLY_BYTES], 1000)
    with pytest.raises(MalformedReply):
        feed_all(reader, b"x" * 1000, 1000)


def test_the_largest_reply_of_the_ledger_fits() -> None:
    """402 days of six figures, each with as many digits as there are."""
    largest = packed(b"x" * 20, *[[2**63 - 1] * 6] * 402)
    assert len(largest) < LIMIT
    (reply,) = ReplyReader().feed(largest, LIMIT)
    assert len(reply) == 403
