"""Measures the ways of calling the vendor through httpx, in processor time a call.

A raw asyncio server in a process of its own reads each request and answers with the same few bytes, so that what is
left in this process is the client's own cost. The ways take turns, a round each, so that a noisy minute hits them all;
the figure is the median round. `docs/adr/0005-own-http-transport.md` says what was made of the figures.

    python -m bench.upstream_ways [--image-bytes 102400] [--calls 300] [--rounds 7] [--concurrency 8] [--only WAY ...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, cast

import aiohttp
import httpx
import orjson
import uvloop
from httpx_aiohttp import AiohttpTransport

from gateway.clock import SystemClock
from gateway.model import Image, ImageFormat, SearchParameters, UpstreamQuery
from gateway.secret import Secret
from gateway.trip import Trip
from gateway.upstream.client import open_upstream
from gateway.upstream.credentials import Credential, CredentialSource
from gateway.upstream.form import search_form
from gateway.upstream.transport import open_transport

ANSWER = orjson.dumps(
    {
        "status": "OK",
        "request_id": "TID8bf47ab6eda64476973cc5f5b6ebf57e",
        "result": [{"person_id": 1, "face_id": 435449455488008194, "score": 0.985, "create_time": 1669077702}],
    }
)
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
FIELDS = {"name": "employees-prod", "threshold": "0.8", "start_time": "1669077702", "topN": "1"}
SECRETS = {"X-DF-API-ID": "id" * 16, "X-DF-API-SECRET": "secret" * 6}

Way = Callable[[], Awaitable[object]]


class Vendor(asyncio.Protocol):
    """Counts a request's bytes to its content-length, then answers."""

    def __init__(self) -> None:
        self.head = b""
        self.left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.left:
            self.head += data
            head, found, rest = self.head.partition(b"\r\n\r\n")
            if not found:
                return
            self.head = b""
            self.left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            data = rest
        self.left -= len(data)
        if self.left <= 0:
            self.left = 0
            self.transport.write(RESPONSE)


class Caller(asyncio.Protocol):
    """The floor: bytes out, bytes in, no HTTP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)

    async def call(self, pieces: list[bytes]) -> bytes:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.writelines(pieces)
        return await self.answer


def on_sockets(port: int, image: bytes) -> Way:
    """The way without HTTP, over connections that are kept."""
    idle: list[Caller] = []

    async def call() -> object:
        if idle:
            caller = idle.pop()
        else:
            _, caller = await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", port)
        answer = await caller.call([b"content-length: %d\r\n\r\n" % len(image), image])
        idle.append(caller)
        return answer

    return call


def serve(pipe: Connection) -> None:
    """The vendor's process: sends its port through `pipe`, serves until killed."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def multipart(image: bytes) -> tuple[str, bytes]:
    """The form as one piece: content type and body."""
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in FIELDS.items()
    )
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image.jpg"\r\n'
    head += "Content-Type: image/jpeg\r\n\r\n"
    body = b"".join((head.encode(), image, f"\r\n--{boundary}--\r\n".encode()))
    return f"multipart/form-data; boundary={boundary}", body


def session() -> aiohttp.ClientSession:
    """A session as the gateway would set it up."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64), cookie_jar=aiohttp.DummyCookieJar())


@contextlib.asynccontextmanager
async def ways(port: int, image: bytes) -> AsyncIterator[dict[str, Way]]:
    """Every way of calling, by name."""
    base_url = f"http://127.0.0.1:{port}"
    url = base_url + "/faceset/v2/search_face"
    parsed = httpx.URL(url)
    fixed = {**SECRETS, "accept": "application/json", "accept-encoding": "identity", "user-agent": "facegate"}
    raw = [(name.encode(), value.encode()) for name, value in fixed.items()]
    query = UpstreamQuery(
        face_set=FIELDS["name"],
        image=Image(content=image, format=ImageFormat.JPEG, width=640, height=480),
        parameters=SearchParameters(threshold=0.8, max_results=1, start_time=1669077702),
    )
    credential = Credential("primary", Secret(SECRETS["X-DF-API-ID"]), Secret(SECRETS["X-DF-API-SECRET"]))
    async with contextlib.AsyncExitStack() as stack:
        plain = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        over = AiohttpTransport(client=session())
        bridged = await stack.enter_async_context(httpx.AsyncClient(transport=over, trust_env=False))
        direct = AiohttpTransport(client=session())
        stack.push_async_callback(direct.aclose)
        own = open_transport(parsed, None, 5.0)
        stack.push_async_callback(own.aclose)
        bare = await stack.enter_async_context(session())
        upstream = await stack.enter_async_context(
            open_upstream(
                base_url=base_url,
                credentials=CredentialSource(credential, load=lambda: credential),
                clock=SystemClock(),
            )
        )

        async def post_files() -> object:
            response = await plain.post(
                url, data=FIELDS, files={"file": ("image.jpg", image, "image/jpeg")}, headers=fixed
            )
            return response.json()

        async def post_content() -> object:
            content_type, body = multipart(image)
            response = await bridged.post(url, content=body, headers={**fixed, "content-type": content_type})
            return orjson.loads(response.content)

        def request() -> httpx.Request:
            content_type, body = multipart(image)
            return httpx.Request("POST", parsed, content=body, headers={**fixed, "content-type": content_type})

        async def send_prebuilt() -> object:
            response = await bridged.send(request())
            return orjson.loads(response.content)

        async def through(transport: httpx.AsyncBaseTransport, sent: httpx.Request) -> object:
            response = await transport.handle_async_request(sent)
            body = b"".join([chunk async for chunk in response.stream])  # type: ignore[union-attr]
            await response.aclose()
            return orjson.loads(body)

        async def to_transport() -> object:
            return await through(direct, request())

        async def to_own_transport() -> object:
            form = search_form(query, "multipart")
            described = [(b"Content-Type", form.content_type), (b"Content-Length", b"%d" % form.length)]
            return await through(own, httpx.Request("POST", parsed, headers=raw + described, stream=form.body))

        async def bare_aiohttp() -> object:
            content_type, body = multipart(image)
            async with bare.post(url, data=body, headers={**fixed, "content-type": content_type}) as response:
                return orjson.loads(await response.read())

        async def gateway_client() -> object:
            trip = Trip("bench", 0.0)
            trip.join(float("inf"))
            return await upstream.search(query, trip)

        yield {
            "AsyncClient.post(files=), httpx's transport": post_files,
            "AsyncClient.post(content=) over aiohttp": post_content,
            "AsyncClient.send(prebuilt) over aiohttp": send_prebuilt,
            "request to httpx-aiohttp's transport": to_transport,
            "request to the gateway's own transport": to_own_transport,
            "aiohttp itself": bare_aiohttp,
            "asyncio itself, without HTTP": on_sockets(port, image),
            "UpstreamClient.search": gateway_client,
        }


async def cost(way: Way, calls: int, concurrency: int) -> float:
    """Microseconds of this process a call."""
    left = calls

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await way()

    start = time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.process_time() - start) / calls * 1e6


async def measure(port: int, options: Any) -> None:
    image = secrets.token_bytes(options.image_bytes)
    async with ways(port, image) as table:
        chosen = {k: w for k, w in table.items() if not options.only or any(o in k for o in options.only)}
        figures: dict[str, list[float]] = {name: [] for name in chosen}
        for way in chosen.values():
            await cost(way, options.concurrency * 5, options.concurrency)
        for _ in range(options.rounds):
            for name, way in chosen.items():
                figures[name].append(await cost(way, options.calls, options.concurrency))
    for name, values in figures.items():
        print(f"{name:46} {statistics.median(values):8.0f} µs   ({min(values):.0f} to {max(values):.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-bytes", type=int, default=100 * 1024)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    here, there = multiprocessing.get_context("spawn").Pipe()
    vendor = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    vendor.start()
    try:
        uvloop.run(measure(here.recv(), options))
    finally:
        vendor.terminate()
        vendor.join()


if __name__ == "__main__":
    main()
