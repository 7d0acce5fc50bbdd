"""What is taken for an HTTP answer, and after which of them the connection may be used again."""

from __future__ import annotations

import gc
import weakref

import pytest

from gateway.upstream.answer import MAX_FRAMING_BYTES, MAX_HEAD_BYTES, MAX_HEADERS, Answer

HEAD = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"content-length: 2\r\n"
GOOD = HEAD + LENGTH + b"\r\n{}"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
STEPS = [pytest.param(10**6, id="whole"), pytest.param(1, id="bytes"), pytest.param(7, id="sevens")]


def read(data: bytes, step: int = 10**6) -> Answer:
    """An answer that came in pieces of `step` bytes."""
    answer = Answer()
    for start in range(0, len(data), step):
        answer.feed(data[start : start + step])
    return answer


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "data",
    [
        HEAD + LENGTH + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n" + LENGTH + b"\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + LENGTH + LENGTH + b"\r\n{}",
        HEAD + LENGTH + b"content-length: 3\r\n\r\n{} ",
        HEAD + b"content-length: 2, 2\r\n\r\n{}",
        HEAD + b"content-length: +2\r\n\r\n{}",
        HEAD + b"content-length: 0x2\r\n\r\n{}",
        HEAD + b"content-length: 99999999999999999999999\r\n\r\n{}",
        HEAD + b"content-length : 2\r\n\r\n{}",
        HEAD + b"content-length\t: 2\r\n\r\n{}",
        HEAD + b"content-length:\r\n 2\r\n\r\n{}",
        HEAD + b"x: a\r\n b\r\n" + LENGTH + b"\r\n{}",
        HEAD + b"x: a\r\n\tb\r\n" + LENGTH + b"\r\n{}",
        HEAD + b" x: a\r\n" + LENGTH + b"\r\n{}",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"x: a\r\n b\r\n" + LENGTH + b"\r\n{}",
        HEAD + b"x: a\0b\r\n" + LENGTH + b"\r\n{}",
        HEAD + b"x\0: a\r\n" + LENGTH + b"\r\n{}",
        HEAD + b"x: a\rb\r\n" + LENGTH + b"\r\n{}",
        HEAD + b": a\r\n" + LENGTH + b"\r\n{}",
        HEAD + b"nothing\r\n" + LENGTH + b"\r\n{}",
        GOOD.replace(b"\r\n", b"\n"),
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: identity\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\n{}\n0\n\n",
        CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"fffffffffffffffffff\r\n{}",
        CHUNKED + b"2\r\n{}xx0\r\n\r\n",
        CHUNKED + b"2\r\n{}\r\n0\r\ncontent-length: 5\r\n\r\n",
        b"<html>this is HTTP/0.9</html>",
        b"HTTP/0.9 200 OK\r\n" + LENGTH + b"\r\n{}",
        b"HTTP/2.0 200 OK\r\n" + LENGTH + b"\r\n{}",
        b"RTSP/1.0 200 OK\r\n" + LENGTH + b"\r\n{}",
        b"ICE/1.0 200 OK\r\n" + LENGTH + b"\r\n{}",
        b"\r\n" + GOOD,
        b"HTTP/1.1 099 Odd\r\n" + LENGTH + b"\r\n{}",
        b"HTTP/1.1 20 Odd\r\n" + LENGTH + b"\r\n{}",
        HEAD + b"x: " + b"a" * MAX_HEAD_BYTES,
        HEAD + b"x: 1\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        CHUNKED + b"2;" + b"a" * MAX_FRAMING_BYTES,
        CHUNKED + b"2\r\n{}\r\n0\r\n" + b"x: 1\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
        b"HTTP/1.1 101 Switching\r\n\r\n",
    ],
)
def test_what_is_no_answer(data: bytes, step: int) -> None:
    """Bytes that two readers could take differently, that are too much, or that are no HTTP/1 are refused."""
    answer = read(data, step)
    assert answer.refused
    assert not answer.leaves_connection_clean


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("data", "code", "body", "clean"),
    [
        (GOOD, 200, b"{}", True),
        (CHUNKED + b"1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n", 200, b"{}", True),
        (CHUNKED + b"2\r\n{}\r\n0\r\nx: y\r\nz: \r\n\r\n", 200, b"{}", True),
        (HEAD + b"content-length: 0\r\n\r\n", 200, b"", True),
        (HEAD + b"x:\r\nset-cookie: =;;\x01=\r\ny: \xff\r\n" + LENGTH + b"\r\n{}", 200, b"{}", True),
        (HEAD + b"content-length: 5\r\n\r\n{\r\n }", 200, b"{\r\n }", True),
        (HEAD + b"upgrade: h2\r\nconnection: upgrade\r\n" + LENGTH + b"\r\n{}", 200, b"{}", True),
        (b"HTTP/1.1 204 None\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Same\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + GOOD, 200, b"{}", True),
        (b"HTTP/1.1 204 None\r\ncontent-length: 2\r\n\r\n", 204, b"", False),
        (b"HTTP/1.1 304 Same\r\ncontent-length: 2\r\n\r\n", 304, b"", False),
        (b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\n" + GOOD, 200, b"{}", False),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", 101, b"", False),
        (b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n{}", 200, b"{}", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n" + LENGTH + b"\r\n{}", 200, b"{}", False),
        (HEAD + b"connection: close\r\n" + LENGTH + b"\r\n{}", 200, b"{}", False),
        (HEAD + b"connection: keep-alive, close\r\n" + LENGTH + b"\r\n{}", 200, b"{}", False),
        (GOOD + GOOD, 200, b"{}", False),
        (GOOD + b"HTTP", 200, b"{}", False),
        (GOOD + b"\r\n", 200, b"{}", False),
        (GOOD + b"\n", 200, b"{}", False),
        (CHUNKED + b"2\r\n{}\r\n0\r\n\r\n" + GOOD, 200, b"{}", False),
        (b"HTTP/1.1 204 None\r\n\r\n\r\n", 204, b"", False),
    ],
)
def test_what_is_an_answer(data: bytes, step: int, code: int, body: bytes, clean: bool) -> None:
    """The connection is clean after an answer whose end is beyond doubt, that allows it, and that nothing follows."""
    answer = read(data, step)
    assert (answer.refused, answer.complete, answer.code) == (False, True, code)
    assert b"".join(answer.chunks) == body
    assert answer.leaves_connection_clean is clean


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_no_part_of_an_answer_is_whole(cut: int) -> None:
    """Before its last byte an answer is not complete, whether or not the peer ends there."""
    answer = read(GOOD[:cut])
    answer.end()
    assert (answer.refused, answer.complete, answer.leaves_connection_clean) == (False, False, False)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    """Without a length the peer's end is the body's, and no part of it is before."""
    answer = read(HEAD + b"\r\n{}")
    assert (answer.complete, answer.chunks) == (False, [b"{", b"}"])
    answer.end()
    assert (answer.complete, answer.leaves_connection_clean) == (True, False)


def test_the_limits_of_a_head_are_exact() -> None:
    """32 KiB and 500 headers are taken, one more is not."""
    room = MAX_HEAD_BYTES - len(HEAD + b"x: \r\n" + LENGTH + b"\r\n")
    for spare, refused in ((0, False), (1, True)):
        assert read(HEAD + b"x: " + b"a" * (room + spare) + b"\r\n" + LENGTH + b"\r\n{}").refused is refused
        assert read(HEAD + b"x: 1\r\n" * (MAX_HEADERS - 1 + spare) + LENGTH + b"\r\n{}").refused is refused


def test_headers_of_interim_answers_are_not_the_answer_s() -> None:
    """What an interim answer says does not get into the final one."""
    answer = read(b"HTTP/1.1 103 Early\r\nretry-after: 9\r\n\r\n" + GOOD)
    assert answer.headers == [(b"content-length", b"2")]


def test_a_dropped_answer_is_freed_at_once() -> None:
    """Matches are biometric data: they do not wait in memory for the garbage collector."""

    class Watched(Answer):
        __slots__ = ("__weakref__",)

    gc.disable()
    try:
        answer = Watched()
        answer.feed(GOOD)
        answer.drop()
        gone = weakref.ref(answer)
        del answer
        assert gone() is None
    finally:
        gc.enable()
