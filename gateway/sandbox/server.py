"""Starts and stops the sandbox: the only module of it that others need.

async with run_sandbox() as sandbox:
    ...  # sandbox.url, SANDBOX_API_ID, SANDBOX_API_SECRET
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from gateway.clock import Clock, SystemClock
from gateway.sandbox.accounts import DEFAULT_ACCOUNTS, SANDBOX_API_ID, SANDBOX_API_SECRET, Account
from gateway.sandbox.control import Control
from gateway.sandbox.endpoint import PATH, Endpoint
from gateway.sandbox.facesets import FaceSets
from gateway.sandbox.faultboard import FaultBoard
from gateway.sandbox.matching import HashMatcher, InstantMatcher
from gateway.sandbox.stats import Stats

__all__ = [
    "DEMO_FACE_SET",
    "DEMO_QUERY",
    "SANDBOX_API_ID",
    "SANDBOX_API_SECRET",
    "SHIPPED_FACES",
    "Account",
    "Sandbox",
    "run_sandbox",
]

_DATA = Path(__file__).parent / "data"

SHIPPED_FACES = _DATA / "faces"
DEMO_FACE_SET = "demo"
DEMO_QUERY = _DATA / "queries" / "astronaut.jpg"
"""A smaller, brighter, more compressed copy of the portrait in the face set `demo`."""

_MAX_BODY_BYTES = 12 * 1024 * 1024
_DECODING_THREADS = 2
"""A PNG of 6000 x 6000 pixels takes up to 180 MB while it is decoded: few at once."""
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that is running: where, and its parts for tests in the same process."""

    host: str
    port: int
    faults: FaultBoard
    stats: Stats
    face_sets: FaceSets

    @property
    def url(self) -> str:
        """What `upstream.base_url` is set to."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"


@asynccontextmanager
async def run_sandbox(
    host: str = "127.0.0.1",
    port: int = 0,
    faces_dir: Path | None = None,
    *,
    accounts: Mapping[str, Account] = DEFAULT_ACCOUNTS,
    instant: bool = False,
    refresh_seconds: float = 1.0,
    clock: Clock | None = None,
) -> AsyncIterator[Sandbox]:
    """Runs a sandbox on `host` and `port` (0: any free one) for as long as the context lasts.

    `faces_dir` holds a folder of photos a face set; None means the shipped ones. `instant` answers without looking at
    photos, for benchmarks. Raises `OSError`, with a message for people, if the address or the folder is not usable.
    """
    clock = clock or SystemClock()
    board, stats = FaultBoard(), Stats()
    with _listen(host, port) as listener, ThreadPoolExecutor(_DECODING_THREADS, "sandbox-decode") as executor:
        face_sets = FaceSets(
            faces_dir or SHIPPED_FACES, executor=executor, clock=clock, refresh_seconds=refresh_seconds
        )
        await _load(face_sets, faces_dir or SHIPPED_FACES)
        matcher = InstantMatcher() if instant else HashMatcher(executor)
        endpoint = Endpoint(accounts, face_sets, matcher, board=board, stats=stats, clock=clock)
        runner = web.AppRunner(
            _application(endpoint, Control(board, stats)),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.5,  # a call that hangs or drips by a fault is not waited for
        )
        await runner.setup()
        try:
            await web.SockSite(runner, listener, backlog=_BACKLOG).start()
            address = listener.getsockname()
            yield Sandbox(address[0], address[1], board, stats, face_sets)
        finally:
            await runner.cleanup()


def _application(endpoint: Endpoint, control: Control) -> web.Application:
    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    application.add_routes([web.post(PATH, endpoint.search_face), *control.routes()])
    application.router.add_route("*", "/{other:.*}", endpoint.not_found)
    return application


def _listen(host: str, port: int) -> socket.socket:
    try:
        # One socket: aiohttp would open one for each address of `host`, each with another port if `port` is 0.
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        known = error.errno is not None and not isinstance(error, socket.gaierror)
        why = os.strerror(error.errno) if known and error.errno else "the host is not known"
        remedy = "; choose another port, or 0 for any" if error.errno == errno.EADDRINUSE else ""
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {why}{remedy}") from error


async def _load(face_sets: FaceSets, folder: Path) -> None:
    try:
        await face_sets.load()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else "unreadable"
        raise OSError(error.errno, f"cannot read face sets from {folder}: {why}") from error
