"""The operators' HTTP listener: `/livez`, `/readyz`, `/metrics`, and the status page at `/` with its data.

Nothing here holds a secret or personal data, and nothing changes the gateway. Asks the rest of it through callables.
Whoever reaches the port may read it, so a request costs little (`rendered`), a connection is bounded (`connections`),
and a page on the web that only reaches it through a browser is refused (`hosts`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.clock import Clock
from gateway.ops.bound import every_address, is_every_address
from gateway.ops.connections import BoundedConnections, Bounds
from gateway.ops.hosts import AllowedHosts
from gateway.ops.page import status_page
from gateway.ops.rendered import Rendered, metrics_page
from gateway.telemetry.instruments import Collected
from gateway.telemetry.prometheus import CONTENT_TYPE

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PROBES = ("/livez", "/readyz")
_WRONG_HOST = "this host name is not allowed: add it to ops.allowed_hosts\n"
_log = logging.getLogger(__name__)
# A stranger's bytes that are no HTTP are answered with 400; a line for each would let him fill the log.
_log.addFilter(lambda line: not (line.exc_info and isinstance(line.exc_info[1], HttpProcessingError)))


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls are taken, and what is wrong even so: a line each, safe to show."""

    ready: bool
    problems: tuple[str, ...] = ()


def no_metrics() -> Iterable[Collected]:
    """The metrics of a gateway that measures nothing."""
    return ()


async def no_status() -> dict[str, Any]:
    """The data of a gateway that reports nothing."""
    return {}


@asynccontextmanager
async def serve_ops(
    listen: str,
    readiness: Callable[[], Readiness],
    *,
    clock: Clock,
    metrics: Callable[[], Iterable[Collected]] = no_metrics,
    status: Callable[[], Awaitable[dict[str, Any]]] = no_status,
    allowed_hosts: Sequence[str] = (),
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
) -> AsyncIterator[str]:
    """Serves on `listen` (HOST:PORT) and yields the address that was bound. Raises `OSError` if it cannot be.

    `metrics` gives what `/metrics` shows (see `Telemetry.collect`), `status` what the page shows (see `StatusReport`).
    `allowed_hosts` are names that `Host` may hold in addition to those of `AllowedHosts`.
    """

    async def data() -> bytes:
        state = readiness()
        return orjson.dumps({"ready": state.ready, "problems": state.problems, **await status()})

    rendered_metrics = Rendered(lambda: metrics_page(metrics), clock, one_step=True)
    rendered_data = Rendered(data, clock)
    application = _application(readiness, rendered_metrics, rendered_data, AllowedHosts(allowed_hosts))
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        # A caller that has left needs no answer.
        handler_cancellation=True,
        # No route reads a body.
        lingering_time=0.0,
        logger=_log,
        max_field_size=bounds.max_head_bytes,
        max_line_size=bounds.max_head_bytes,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    assert runner.server is not None
    connections = BoundedConnections(runner.server, bounds)
    try:
        loop = asyncio.get_running_loop()
        host, _, port = listen.rpartition(":")
        if is_every_address(host):
            server = await loop.create_server(connections.accept, sock=every_address(int(port)))
        else:
            server = await loop.create_server(connections.accept, host.strip("[]"), int(port))
        try:
            yield f"{host}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
    finally:
        await runner.cleanup()
        connections.end()
        rendered_metrics.close()
        rendered_data.close()


def _application(
    readiness: Callable[[], Readiness], metrics: Rendered, data: Rendered, hosts: AllowedHosts
) -> web.Application:
    page = status_page()

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def readyz(request: web.Request) -> web.Response:
        state = readiness()
        lines = ["ready" if state.ready else "not ready"]
        if _is_allowed(request, hosts):
            lines += (f"problem: {problem}" for problem in state.problems)
        return web.Response(text="\n".join(lines) + "\n", status=200 if state.ready else 503)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=await metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def root(_: web.Request) -> web.Response:
        return web.Response(text=page.html, content_type="text/html", headers={"Content-Security-Policy": page.policy})

    async def status(_: web.Request) -> web.Response:
        return web.Response(body=await data(), content_type="application/json")

    application = web.Application(middlewares=[_host_check(hosts)])
    application.on_response_prepare.append(_finish)
    application.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/metrics", scrape),
            web.get("/", root),
            web.get("/status.json", status),
        ]
    )
    return application


def _is_allowed(request: web.Request, hosts: AllowedHosts) -> bool:
    return hosts.allow(request.headers.getall("Host", ()))


def _host_check(hosts: AllowedHosts) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
        # A probe may come by any name: without an allowed one it gets a single word.
        if request.path in _PROBES or _is_allowed(request, hosts):
            return await handler(request)
        return web.Response(text=_WRONG_HOST, status=421)

    return check


async def _finish(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.force_close()
