"""`/__sandbox/`: faults and numbers over HTTP. Knows neither photos nor credentials."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from gateway.sandbox.faultboard import BadFault, FaultBoard
from gateway.sandbox.stats import Stats


class Control:
    """Handlers for whoever steers the sandbox."""

    def __init__(self, board: FaultBoard, stats: Stats) -> None:
        self._board = board
        self._stats = stats

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [
            web.get("/__sandbox/faults", self.list_faults, allow_head=False),
            web.post("/__sandbox/faults", self.post_faults),
            web.delete("/__sandbox/faults", self.clear_faults),
            web.delete(r"/__sandbox/faults/{id:\d{1,18}}", self.clear_faults),
            web.get("/__sandbox/stats", self.show_stats, allow_head=False),
            web.post("/__sandbox/stats", self.reset_stats),
            web.delete("/__sandbox/stats", self.reset_stats),
        ]

    async def list_faults(self, request: web.Request) -> web.Response:
        """The faults in force."""
        return _json({"faults": self._board.listing()})

    async def post_faults(self, request: web.Request) -> web.Response:
        """Posts a fault or a list of them: 201 with what is now in force of it, 400 with the remedy."""
        try:
            given = orjson.loads(await request.read())
            posted = self._board.post(given)
        except orjson.JSONDecodeError:
            return _json({"error": 'the body is not JSON: send for instance {"kind": "hang", "calls": 1}'}, 400)
        except BadFault as error:
            return _json({"error": str(error)}, 400)
        return _json({"faults": [one.as_json() for one in posted]}, 201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """Clears all faults, or the one in the path."""
        fault_id = request.match_info.get("id")
        cleared = self._board.clear(None if fault_id is None else int(fault_id))
        if fault_id is not None and not cleared:
            return _json({"error": "no such fault: GET /__sandbox/faults lists those in force"}, 404)
        return _json({"cleared": cleared})

    async def show_stats(self, request: web.Request) -> web.Response:
        """The numbers."""
        return _json(self._stats.as_json())

    async def reset_stats(self, request: web.Request) -> web.Response:
        """Begins anew; answers with the numbers as they are then."""
        self._stats.reset()
        return _json(self._stats.as_json())


def _json(value: Any, code: int = 200) -> web.Response:
    return web.Response(status=code, body=orjson.dumps(value) + b"\n", content_type="application/json")
