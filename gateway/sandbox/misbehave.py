"""Does what a fault says, to one call's connection. Decides nothing: see `faultboard.py`."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import assert_never

from aiohttp import web

from gateway.sandbox import faults
from gateway.sandbox.faultboard import FaultBoard, Posted
from gateway.sandbox.verdicts import DESCRIPTIONS, HTTP_CODES, VendorStatus, failure_body, ok_body

JSON = "application/json"
Answer = Callable[[], Awaitable[tuple[int, bytes]]]

_GARBAGE = b"\x00\xff{]" + random.Random(0).randbytes(1020)  # not a secret: the same in every run
_SECONDS_TO_ARRIVE = 0.02


async def misbehave(request: web.Request, posted: Posted, board: FaultBoard, answer: Answer) -> web.StreamResponse:
    """The answer to `request` as the fault wants it; `answer` gives the right one's HTTP code and body."""
    match posted.fault:
        case faults.LatencyFault():
            return _answer(*await answer())
        case faults.HangFault():
            await board.hold(posted)
            return _break(request, graceful=True)
        case faults.DripFault() as fault:
            return await _drip(request, *await answer(), fault.interval_seconds)
        case faults.ResetFault(when="before_headers") as fault:
            return _break(request, graceful=fault.graceful)
        case faults.ResetFault() as fault:
            return await _break_half_way(request, *await answer(), graceful=fault.graceful)
        case faults.GarbageFault(level="protocol"):
            return _break(request, graceful=True, last_words=_GARBAGE)
        case other:
            return await _made_up(other)


async def _made_up(
    fault: faults.StatusFault
    | faults.HttpFault
    | faults.GarbageFault
    | faults.OversizeFault
    | faults.GzipBombFault
    | faults.RedirectFault,
) -> web.Response:
    """An HTTP answer that owes nothing to the request."""
    match fault:
        case faults.StatusFault(status=status):
            reason = fault.reason or DESCRIPTIONS[status]
            body = ok_body(()) if status is VendorStatus.OK else failure_body(status, reason)
            return _answer(fault.http_code or HTTP_CODES[status], body, _retry_after(fault.retry_after))
        case faults.HttpFault():
            headers = {**fault.headers, **_retry_after(fault.retry_after)}
            return _answer(fault.http_code, fault.body.encode(), headers, fault.content_type)
        case faults.GarbageFault():
            return _answer(200, _GARBAGE)
        case faults.OversizeFault():
            return _answer(200, b"".join(_padded(fault.size_bytes)))
        case faults.GzipBombFault():
            bomb = await asyncio.to_thread(_bomb, fault.size_bytes)
            return _answer(200, bomb, {"Content-Encoding": "gzip"})
        case faults.RedirectFault():
            return _answer(fault.http_code, b"", {"Location": fault.location})
        case _:
            assert_never(fault)


def _answer(code: int, body: bytes, headers: dict[str, str] | None = None, content_type: str = JSON) -> web.Response:
    return web.Response(status=code, body=body, headers={"Content-Type": content_type, **(headers or {})})


def _retry_after(value: int | str | None) -> dict[str, str]:
    return {} if value is None else {"Retry-After": str(value)}


def _break(request: web.Request, *, graceful: bool, last_words: bytes = b"") -> web.Response:
    """Ends the connection without an HTTP answer: by a reset, or by a close behind `last_words`."""
    transport = request.transport
    if transport is not None:
        if graceful:
            transport.write(last_words)
            transport.close()
        else:
            connection = transport.get_extra_info("socket")
            # Lingering for 0 s is what makes the kernel send RST rather than FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
    return web.Response()  # goes nowhere: aiohttp wants one from every handler


async def _begin(request: web.Request, code: int, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=code, headers={"Content-Type": JSON, "Content-Length": str(len(body))})
    await response.prepare(request)
    return response


async def _drip(request: web.Request, code: int, body: bytes, interval_seconds: float) -> web.StreamResponse:
    response = await _begin(request, code, body)
    for index in range(len(body)):
        await response.write(body[index : index + 1])
        await asyncio.sleep(interval_seconds)
    return response


async def _break_half_way(request: web.Request, code: int, body: bytes, *, graceful: bool) -> web.StreamResponse:
    response = await _begin(request, code, body)
    await response.write(body[: len(body) // 2])
    # A reset overtakes bytes that are still on their way.
    await asyncio.sleep(_SECONDS_TO_ARRIVE)
    _break(request, graceful=graceful)
    return response


def _padded(size_bytes: int) -> tuple[bytes, bytes, bytes]:
    """An OK answer in three pieces, together `size_bytes` long."""
    start, end = ok_body(())[:-1] + b',"padding":"', b'"}'
    return start, b" " * (size_bytes - len(start) - len(end)), end


@lru_cache(maxsize=4)
def _bomb(size_bytes: int) -> bytes:
    gzip = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    start, padding, end = _padded(min(size_bytes, 1024 * 1024))
    whole, rest = divmod(size_bytes - len(start) - len(end), len(padding))
    packed = [gzip.compress(start)]
    packed += [gzip.compress(padding) for _ in range(whole)]
    return b"".join([*packed, gzip.compress(padding[:rest]), gzip.compress(end), gzip.flush()])
