"""`grpc.health.v1`: whether to send calls here. Open to everyone, so that probes need no credentials.

Names: `""` and each service's name are SERVING while calls are taken; `liveness` while the process works at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc
from grpc.aio import ServicerContext
from grpc_health.v1.health_pb2 import DESCRIPTOR, HealthCheckRequest, HealthCheckResponse

LIVENESS = "liveness"
# A watcher costs a stream; the gateway's probes and load balancers are few.
MAX_WATCHERS = 256


SERVICE = DESCRIPTOR.services_by_name["Health"].full_name


class Health:
    """The health service. Starts NOT_SERVING; a watch ends by itself once the gateway drains.

    The stock servicer keeps watches open for ever, and each would hold up the drain for its whole time.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._ready_names = frozenset({"", *services})
        self._ready = False
        self._draining = False
        self._changed = asyncio.Condition()
        self._watchers = 0

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, for a server.

        What the generated code adds beside it costs every call of the server, whichever it is: gRPC waits for the next
        call of each registered method in a task of its own, and starts the wait for all of them anew with each call.
        """
        response = HealthCheckResponse.SerializeToString
        check = grpc.unary_unary_rpc_method_handler(self.Check, HealthCheckRequest.FromString, response)
        watch = grpc.unary_stream_rpc_method_handler(self.Watch, HealthCheckRequest.FromString, response)
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": check, "Watch": watch})

    @property
    def ready(self) -> bool:
        """Whether calls are taken."""
        return self._ready

    async def serve(self) -> None:
        """SERVING from now on, unless it drains already."""
        async with self._changed:
            self._ready = not self._draining
            self._changed.notify_all()

    async def drain(self) -> None:
        """NOT_SERVING from now on; watches end."""
        async with self._changed:
            self._ready, self._draining = False, True
            self._changed.notify_all()

    def _status(self, service: str) -> int | None:
        if service in self._ready_names:
            return HealthCheckResponse.SERVING if self._ready else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse.SERVING if service == LIVENESS else None

    async def Check(
        self,
        request: HealthCheckRequest,
        context: ServicerContext[HealthCheckRequest, HealthCheckResponse],
    ) -> HealthCheckResponse:
        """The status of a service; NOT_FOUND for a name that is not served."""
        status = self._status(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return HealthCheckResponse(status=status)

    async def Watch(
        self,
        request: HealthCheckRequest,
        context: ServicerContext[HealthCheckRequest, HealthCheckResponse],
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status of a service now and at each change; SERVICE_UNKNOWN for a name that is not served."""
        if self._watchers >= MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watchers")
        self._watchers += 1
        last = None
        try:
            while True:
                async with self._changed:
                    while (status := self._served(request.service)) == last and not self._draining:
                        await self._changed.wait()
                    draining = self._draining
                if status != last:
                    yield HealthCheckResponse(status=status)
                    last = status
                if draining:
                    return
        finally:
            self._watchers -= 1

    def _served(self, service: str) -> int:
        status = self._status(service)
        return HealthCheckResponse.SERVICE_UNKNOWN if status is None else status
