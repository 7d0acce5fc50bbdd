"""`grpc.health.v1`: whether to send calls here. Open to everyone, so that probes need no credentials.

Names: `""` and each service's name are SERVING while calls are taken; `liveness` while the process works at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial

from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc_health.v1.health_pb2 import DESCRIPTOR, HealthCheckRequest, HealthCheckResponse

from gateway.rpc.dispatch import Route
from gateway.rpc.open_door import OpenDoor, OpenStreams, Refused, Stream
from gateway.telemetry.refusal_kinds import RefusalKind

LIVENESS = "liveness"
# A watcher costs a stream; the gateway's probes and load balancers are few, and have one stream per connection.
MAX_WATCHERS = 256
MAX_WATCHERS_PER_CONNECTION = 8

SERVICE = DESCRIPTOR.services_by_name["Health"].full_name


class Health:
    """The health service. Starts NOT_SERVING; a watch ends by itself once the gateway drains.

    The stock servicer reads whatever a stranger sends and keeps watches open for ever, and each would hold up the drain for
    its whole time.
    """

    def __init__(self, services: Iterable[str]) -> None:
        self._ready_names = frozenset({"", *services})
        self._watchers = OpenStreams(MAX_WATCHERS, MAX_WATCHERS_PER_CONNECTION, RefusalKind.HEALTH_LIMIT)
        self._ready = False
        self._draining = False
        self._changed = asyncio.Condition()

    def routes(self, door: OpenDoor) -> Mapping[str, Route]:
        """The service's RPCs by their full path, for the listener of `door`."""
        serialize = HealthCheckResponse.SerializeToString
        return {
            f"/{SERVICE}/Check": Route(partial(self._check, door), serialize),
            f"/{SERVICE}/Watch": Route(partial(self._watch, door), serialize, streams_answers=True),
        }

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

    async def _name(self, door: OpenDoor, context: Stream) -> str:
        """The name in a request; the request itself is not kept."""
        raw = await door.read(context)
        if raw is None:
            # Also what remains of a compressed message, which gRPC itself refuses.
            raise Refused(StatusCode.INVALID_ARGUMENT, "the call has no message", RefusalKind.INVALID_REQUEST)
        try:
            name: str = HealthCheckRequest.FromString(raw).service
        except DecodeError:
            raise Refused(
                StatusCode.INVALID_ARGUMENT, "the request cannot be decoded", RefusalKind.INVALID_REQUEST
            ) from None
        return name

    async def _check(self, door: OpenDoor, _: object, context: Stream) -> HealthCheckResponse | None:
        """The status of a service; NOT_FOUND for a name that is not served."""
        door.opened("health_check")
        try:
            status = self._status(await self._name(door, context))
            if status is None:
                raise Refused(StatusCode.NOT_FOUND, "unknown service", RefusalKind.UNKNOWN_METHOD)
        except Refused as refusal:
            await door.refuse(context, refusal)
            return None
        return HealthCheckResponse(status=status)

    async def _watch(self, door: OpenDoor, _: object, context: Stream) -> None:
        """The status of a service now and at each change; SERVICE_UNKNOWN for a name that is not served."""
        door.opened("health_watch")
        try:
            with self._watchers.one(context):
                await self._report_changes(await self._name(door, context), context)
        except Refused as refusal:
            await door.refuse(context, refusal)

    async def _report_changes(self, service: str, context: Stream) -> None:
        last = None
        while True:
            async with self._changed:
                while (status := self._served(service)) == last and not self._draining:
                    await self._changed.wait()
                draining = self._draining
            if status != last:
                await context.write(HealthCheckResponse(status=status))
                last = status
            if draining:
                return

    def _served(self, service: str) -> int:
        status = self._status(service)
        return HealthCheckResponse.SERVICE_UNKNOWN if status is None else status
