"""HTTP/2 frames and gRPC messages written by hand, for clients that break the rules or have to be cheap."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Metadata = Sequence[tuple[str, str]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7, 0x8, 0x9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
CANCEL = 0x8

HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 0x1, 0x3, 0x4, 0x5
DEFAULT_WINDOW = 65_535
MAX_WINDOW = (1 << 31) - 1


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", name, value) for name, value in values.items()))


def window_update(stream: int, more: int) -> bytes:
    """Lets the other side send `more` bytes."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def reset(stream: int, code: int = CANCEL) -> bytes:
    """Gives a stream up."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def field(name: str, value: str) -> bytes:
    """A header as a literal that leaves the dynamic table alone, so that the same header is always the same bytes."""
    return b"\x00" + _text(name) + _text(value)


def indexed_field(name: str, value: str) -> bytes:
    """A header as a literal that the dynamic table remembers: its repetitions take one byte each."""
    return b"\x40" + _text(name) + _text(value)


def request_headers(path: str, authority: str, scheme: str = "http", metadata: Metadata = ()) -> bytes:
    """The header block of a gRPC call."""
    # The static table has POST as 3, http as 6 and https as 7.
    fixed = bytes((0x83, 0x86 if scheme == "http" else 0x87))
    named = [(":path", path), (":authority", authority), ("te", "trailers"), ("content-type", "application/grpc")]
    return fixed + b"".join(field(name, value) for name, value in (*named, *metadata))


def message(payload: bytes, *, compressed: bool = False) -> bytes:
    """A gRPC message with its prefix."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def unfinished(length: int, sent: int) -> bytes:
    """The beginning of a message: it says that it is `length` bytes long and `sent` bytes of it are here."""
    return struct.pack(">BI", 0, length) + bytes(sent)


def _text(text: str) -> bytes:
    raw = text.encode()
    return _length(len(raw)) + raw


def _length(value: int) -> bytes:
    """An integer with a prefix of seven bits."""
    if value < 127:
        return bytes((value,))
    value -= 127
    more = bytearray((127,))
    while value >= 128:
        more.append(value % 128 + 128)
        value //= 128
    more.append(value)
    return bytes(more)
