"""The operators' HTTP listener: `/livez` and `/readyz`, in plain text, without secrets or personal data.

Asks the rest of the gateway for its state through one callable; changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls are taken, and what is wrong even so: a line each, safe to show."""

    ready: bool
    problems: tuple[str, ...] = ()


@asynccontextmanager
async def serve_ops(listen: str, readiness: Callable[[], Readiness]) -> AsyncIterator[str]:
    """Serves on `listen` (HOST:PORT) and yields the address that was bound. Raises `OSError` if it cannot be."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="live\n", headers=_HEADERS)

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        lines = ["ready" if state.ready else "not ready", *(f"problem: {problem}" for problem in state.problems)]
        return web.Response(text="\n".join(lines) + "\n", status=200 if state.ready else 503, headers=_HEADERS)

    application = web.Application()
    application.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        host, _, port = listen.rpartition(":")
        site = web.TCPSite(runner, host.strip("[]"), int(port))
        await site.start()
        bound = runner.addresses[0]
        yield f"{host}:{bound[1]}"
    finally:
        await runner.cleanup()
