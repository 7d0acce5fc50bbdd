"""A search as the vendor's multipart form, in pieces, so that a 5 MB image is never copied into a body.

The image goes as the part `file`, or base64 in the field `image_base64`. The second is a multipart field as well: in
a urlencoded form every `+`, `/` and `=` of the base64 would have to be escaped, a second pass over 7 MB.
"""

from __future__ import annotations

import secrets
from binascii import b2a_base64
from collections.abc import AsyncIterator, Iterator
from typing import Literal, NamedTuple

import httpx

from gateway.model import ImageFormat, SearchParameters, UpstreamQuery

ImageEncoding = Literal["multipart", "base64"]

# What one write hands to the connection at most: TLS encrypts a write whole, and keeps up to three copies of it.
# A multiple of 3, so that pieces of base64 join without padding.
CHUNK_BYTES = 255 * 1024

_FILE_HEADERS = {
    ImageFormat.JPEG: b'name="file"; filename="image.jpg"\r\nContent-Type: image/jpeg',
    ImageFormat.PNG: b'name="file"; filename="image.png"\r\nContent-Type: image/png',
}
_BASE64_HEADERS = b'name="image_base64"'


class Pieces(httpx.AsyncByteStream):
    """A request's body. It can be iterated again, when a stale connection makes a second sending necessary.

    Also without `async`, as the gateway's own transport does: no piece is ever waited for.
    """

    def __init__(self, head: bytes, image: bytes, tail: bytes, encoding: ImageEncoding) -> None:
        self._head = head
        self._image = image
        self._tail = tail
        self._encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        view = memoryview(self._image)
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            # A memoryview serves as bytes: it is only written to a socket.
            yield b2a_base64(chunk, newline=False) if self._encoding == "base64" else chunk  # type: ignore[misc]
        yield self._tail


class Form(NamedTuple):
    """A body and the two headers that describe it."""

    content_type: bytes
    length: int
    body: Pieces


def search_form(query: UpstreamQuery, encoding: ImageEncoding) -> Form:
    """The form of `query`. Values stand in bodies of parts, so only the boundary could end one: it is random a call."""
    boundary = secrets.token_hex(16).encode()
    part = b"--%b\r\nContent-Disposition: form-data; " % boundary
    content = query.image.content
    if encoding == "base64":
        headers, length = _BASE64_HEADERS, (len(content) + 2) // 3 * 4
    else:
        headers, length = _FILE_HEADERS[query.image.format], len(content)
    head = b"%b%b%b\r\n\r\n" % (_fields(part, query.face_set, query.parameters), part, headers)
    tail = b"\r\n--%b--\r\n" % boundary
    return Form(
        b"multipart/form-data; boundary=" + boundary,
        len(head) + length + len(tail),
        Pieces(head, content, tail, encoding),
    )


def _fields(part: bytes, face_set: str, parameters: SearchParameters) -> bytes:
    return (
        b'%bname="name"\r\n\r\n%b\r\n%bname="threshold"\r\n\r\n%b\r\n%bname="start_time"\r\n\r\n%d\r\n%bname="topN"\r\n\r\n%d\r\n'
        % (
            part,
            face_set.encode(),
            part,
            _decimal(parameters.threshold),
            part,
            parameters.start_time,
            part,
            parameters.max_results,
        )
    )


def _decimal(number: float) -> bytes:
    """The shortest text of `number` without an exponent, which not every form parser reads."""
    text = repr(float(number))
    return (text if "e" not in text else f"{number:.20f}").encode()
