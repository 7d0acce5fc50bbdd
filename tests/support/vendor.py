"""A vendor that may do anything: a raw asyncio server whose every byte and every silence a test decides.

A test gives a behaviour, a coroutine that is run for each connection. `answering` makes the common one: a list of byte
strings, one an exchange, on connections that stay open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.support.connections import Connections

MATCH = {"person_id": 1, "face_id": 435449455488008194, "score": 0.985, "create_time": 1669077702}
REQUEST_ID = "TID8bf47ab6eda64476973cc5f5b6ebf57e"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int

    def fields(self) -> dict[str, bytes]:
        """The parts of a multipart body by name, split by the boundary alone."""
        boundary = self.headers["content-type"].split("boundary=")[1].encode()
        parts = (b"\r\n" + self.body).split(b"\r\n--" + boundary)
        assert parts[0] == b""
        assert parts[-1] == b"--\r\n"
        found: dict[str, bytes] = {}
        for part in parts[1:-1]:
            head, _, value = part.partition(b"\r\n\r\n")
            name = head.split(b'name="')[1].split(b'"')[0].decode()
            assert name not in found
            found[name] = value
        return found


@dataclass(slots=True)
class Connection:
    """One connection, seen from the vendor."""

    vendor: Vendor
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> Received:
        """Reads a whole request. Raises `IncompleteReadError` when the client is gone."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        received = Received(line, headers, body, self.number)
        self.vendor.received.append(received)
        return received

    async def send(self, data: bytes) -> None:
        """Sends bytes as they are. Raises `ConnectionError` when the client is gone."""
        if self.writer.transport.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()

    def take_little(self) -> None:
        """Lets this end's kernel take in little of what nobody reads, so that a large request cannot leave whole."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_gone(self) -> None:
        """Says nothing until the client closes."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Behaviour = Callable[[Connection], Awaitable[None]]


@dataclass
class Vendor:
    """The server. Use as `async with`; `base_url` is where it listens."""

    behaviour: Behaviour
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    received: list[Received] = field(default_factory=list)
    accepted: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._connections = Connections(self._serve)

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def base_url(self) -> str:
        """What a client is configured with."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connections.accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connections.end(self._server)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, ssl.SSLError):
            await self.behaviour(Connection(self, self.accepted, reader, writer))


def response(code: int, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP answer with its content-length."""
    lines = [f"HTTP/1.1 {code} Whatever", f"content-length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def json_response(code: int, document: object, *headers: str) -> bytes:
    """An HTTP answer with a JSON body."""
    return response(code, orjson.dumps(document), "content-type: application/json", *headers)


def found(*matches: Mapping[str, object]) -> dict[str, object]:
    """The body of an answer with these matches."""
    return {"status": "OK", "request_id": REQUEST_ID, "result": list(matches)}


OK = json_response(200, found(dict(MATCH)))


def answering(answers: Iterable[bytes]) -> Behaviour:
    """Answers each request on any connection with the next of `answers`; silent when they are used up."""
    remaining = iter(answers)

    async def behave(connection: Connection) -> None:
        while True:
            await connection.request()
            answer = next(remaining, None)
            if answer is None:
                await connection.until_gone()
                return
            await connection.send(answer)

    return behave


def always(answer: bytes) -> Behaviour:
    """Answers every request with the same bytes."""

    async def behave(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.send(answer)

    return behave


def upstream_of(vendor: Vendor, folder: Path, **more: Any) -> dict[str, Any]:
    """Settings of a real client of this vendor."""
    (folder / "id").write_text("an-id")
    (folder / "secret").write_text("a-secret")
    files = {"api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
    return {"base_url": vendor.base_url, "credentials": [{"name": "primary", **files}], **more}
