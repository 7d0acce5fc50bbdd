"""A vendor that costs next to nothing, as a process of its own: it throws bodies away and answers after a while.

`python -m tests.support.vendor_process` prints its port. `GET /stats` gives its counts, `GET /latency/SECONDS` sets how
long answers take from then on.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import uvloop

from tests.support.vendor import OK, json_response


@dataclass
class _Counts:
    latency_seconds: float = 0.0
    received: int = 0
    answered: int = 0
    in_flight: int = 0
    highest_in_flight: int = 0


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, of which only the length is looked at."""

    def __init__(self, counts: _Counts) -> None:
        self._counts = counts
        self._head = b""
        self._left = 0
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._busy:
            self._counts.in_flight -= 1
            self._busy = False

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._whole()
            return
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return
        self._head = b""
        line, _, lines = head.partition(b"\r\n")
        if line.startswith(b"GET /"):
            self._steered(line.split(b" ")[1].decode())
            return
        length = next(int(one[15:]) for one in lines.split(b"\r\n") if one[:15].lower() == b"content-length:")
        self._left = length - len(rest)
        if self._left <= 0:
            self._whole()

    def _whole(self) -> None:
        counts = self._counts
        self._left, self._busy = 0, True
        counts.received += 1
        counts.in_flight += 1
        counts.highest_in_flight = max(counts.highest_in_flight, counts.in_flight)
        if counts.latency_seconds:
            asyncio.get_running_loop().call_later(counts.latency_seconds, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if self._busy:
            self._busy = False
            self._counts.in_flight -= 1
            self._counts.answered += 1
            self._send(OK)

    def _steered(self, path: str) -> None:
        if path.startswith("/latency/"):
            self._counts.latency_seconds = float(path.rpartition("/")[2])
        self._send(json_response(200, vars(self._counts)))

    def _send(self, data: bytes) -> None:
        self._transport.write(data)


@dataclass(frozen=True)
class VendorProcess:
    """A running one."""

    url: str
    session: aiohttp.ClientSession

    async def latency(self, seconds: float) -> None:
        """How long answers take from now on."""
        await self._get(f"/latency/{seconds}")

    async def stats(self) -> dict[str, Any]:
        """`received`, `answered`, `in_flight` and `highest_in_flight` requests so far."""
        return await self._get("/stats")

    async def _get(self, path: str) -> dict[str, Any]:
        async with self.session.get(self.url + path) as response:
            answer: dict[str, Any] = await response.json()
            return answer


@asynccontextmanager
async def vendor_process(latency_seconds: float = 0.0) -> AsyncIterator[VendorProcess]:
    """The vendor, listening."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.vendor_process", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            vendor = VendorProcess(f"http://127.0.0.1:{port}", session)
            await vendor.latency(latency_seconds)
            yield vendor
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _main() -> None:
    counts = _Counts()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(counts), "127.0.0.1", 0, backlog=1024)
    print(json.dumps(server.sockets[0].getsockname()[1]), flush=True)  # noqa: T201 - what the test reads
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main())
