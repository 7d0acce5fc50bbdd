"""The operators' HTTP listener: `/livez`, `/readyz`, `/metrics`, and the status page at `/` with its data.

Nothing here holds a secret or personal data, and nothing changes the gateway. Asks the rest of it through callables.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from gateway.ops.page import status_page
from gateway.telemetry.prometheus import CONTENT_TYPE

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls are taken, and what is wrong even so: a line each, safe to show."""

    ready: bool
    problems: tuple[str, ...] = ()


def no_metrics() -> str:
    """The page of a gateway that measures nothing."""
    return ""


async def no_status() -> dict[str, Any]:
    """The data of a gateway that reports nothing."""
    return {}


@asynccontextmanager
async def serve_ops(
    listen: str,
    readiness: Callable[[], Readiness],
    *,
    metrics: Callable[[], str] = no_metrics,
    status: Callable[[], Awaitable[dict[str, Any]]] = no_status,
) -> AsyncIterator[str]:
    """Serves on `listen` (HOST:PORT) and yields the address that was bound. Raises `OSError` if it cannot be.

    `metrics` gives the text of `/metrics`, `status` what the page shows (see `StatusReport`).
    """
    page = status_page()

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="live\n", headers=_HEADERS)

    async def readyz(_: web.Request) -> web.Response:
        state = readiness()
        lines = ["ready" if state.ready else "not ready", *(f"problem: {problem}" for problem in state.problems)]
        return web.Response(text="\n".join(lines) + "\n", status=200 if state.ready else 503, headers=_HEADERS)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=metrics().encode(), headers={**_HEADERS, "Content-Type": CONTENT_TYPE})

    async def root(_: web.Request) -> web.Response:
        headers = {**_HEADERS, "Content-Security-Policy": page.policy}
        return web.Response(text=page.html, content_type="text/html", headers=headers)

    async def data(_: web.Request) -> web.Response:
        state = readiness()
        body = {"ready": state.ready, "problems": state.problems, **await status()}
        return web.Response(body=orjson.dumps(body), content_type="application/json", headers=_HEADERS)

    application = web.Application()
    application.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/metrics", scrape),
            web.get("/", root),
            web.get("/status.json", data),
        ]
    )
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
