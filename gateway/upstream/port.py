"""What the search needs of the vendor: one question, one answer."""

from __future__ import annotations

from typing import Protocol

from gateway.model import UpstreamAnswer, UpstreamQuery


class Upstream(Protocol):
    """A face search service.

    `search` ends by itself within the upstream's own total timeout, and raises only `UpstreamFailure`, `ImageRejected`,
    or `GatewayOverloaded` when its pool is full. The caller must not cancel it once started (a cancelled HTTP call can
    leak a pool slot): it runs in a task of its own, see `cache/flights.py`.
    """

    async def search(self, query: UpstreamQuery) -> UpstreamAnswer:
        """Searches `query.face_set` for the face in `query.image`."""
        ...
