"""Times the requests to the vendor, without knowing how they are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.clock import Clock
from gateway.errors import GatewayOverloaded
from gateway.model import UpstreamAnswer, UpstreamQuery
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.instruments import OTHER


class MeasuredUpstream:
    """An upstream whose every search is timed and counted by the status that it ends with.

    Around the client that makes one request, inside whatever retries it.
    """

    def __init__(
        self, search: Callable[[UpstreamQuery], Awaitable[UpstreamAnswer]], metrics: CallMetrics, clock: Clock
    ) -> None:
        self._search = search
        self._metrics = metrics
        self._clock = clock

    async def search(self, query: UpstreamQuery) -> UpstreamAnswer:
        """See `Upstream.search`."""
        started = self._clock.monotonic()
        status = "cancelled"
        try:
            answer = await self._search(query)
            status = answer.upstream_status
            return answer
        except GatewayOverloaded:
            # No connection came free: the vendor was not asked.
            status = ""
            raise
        except Exception as failure:
            status = getattr(failure, "upstream_status", OTHER)
            raise
        finally:
            if status:
                self._metrics.upstream_ended(status, self._clock.monotonic() - started)
