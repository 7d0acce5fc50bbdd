"""A vendor that answers at once: it reads a request to its end and sends constant bytes.

Far cheaper than the sandbox, so that what is measured is the gateway. `GET /count` says how many searches it answered.
`python -m bench.instant_upstream PORT`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

import uvloop

_BODY = json.dumps(
    {
        "status": "OK",
        "request_id": "TID8bf47ab6eda64476973cc5f5b6ebf57e",
        "result": [{"person_id": 1, "face_id": 435449455488008194, "score": 0.985, "create_time": 1790000000}],
    }
).encode()


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


_ANSWER = _response(_BODY)


class Vendor(asyncio.Protocol):
    """One connection: the head of a request, then `content-length` bytes that are dropped."""

    answered = 0

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._body(len(data))
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._head = b""
        if head.startswith(b"GET /count"):
            self._transport.write(_response(str(Vendor.answered).encode()))
            return
        if b"100-continue" in head:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2]
        self._left = int(length.partition(b"\r\n")[0])
        self._body(len(rest))

    def _body(self, received: int) -> None:
        self._left -= received
        if self._left == 0:
            Vendor.answered += 1
            self._transport.write(_ANSWER)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
