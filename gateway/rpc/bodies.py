"""Reads the messages of calls, within the room that there is for them.

How large a message is becomes known only when all of it is here. So each counts as the largest from the moment in which it
is read until it has arrived, and a message for which there is no room stays unread: HTTP/2's flow control then holds it at
the caller. A message may take as long as its call. But while others wait for room, one that takes more than
`ARRIVAL_SECONDS` is given up, so that nobody keeps the room for a message that never comes.
"""

from __future__ import annotations

import asyncio

from gateway.clock import Clock
from gateway.errors import DeadlineExceeded, GatewayOverloaded, InvalidRequest
from gateway.rpc.call import Call
from gateway.rpc.places import Places
from gateway.rpc.room import Room
from gateway.telemetry.refusal_kinds import RefusalKind

MAX_BODY_BYTES = 7 * 1024 * 1024
"""gRPC's own limit of a message: 5 MiB as base64 fits, so that an oversize image gets a proper error."""

ARRIVAL_SECONDS = 10.0
_CHECK_SECONDS = 0.5


class _Reading:
    """A message that is being read."""

    __slots__ = ("given_up", "started", "task")

    def __init__(self, task: asyncio.Task[object], started: float) -> None:
        self.task = task
        self.started = started
        self.given_up = False


class Bodies:
    """As many messages may wait for room as would fit into it; further ones are refused."""

    def __init__(self, room: Room, clock: Clock) -> None:
        self._room = room
        self._clock = clock
        self._queue = Places(max(1, room.capacity // MAX_BODY_BYTES))
        self._reading: dict[Call, _Reading] = {}
        self._check: asyncio.TimerHandle | None = None

    async def read(self, call: Call) -> int:
        """Reads the message of a call that has a place into `call.message`; its size in bytes.

        Raises `GatewayOverloaded` if too many wait, `DeadlineExceeded` if it takes too long, `InvalidRequest` if the caller
        sends none.
        """
        held = call.held
        assert held is not None
        room, tenant = self._room, held.tenant
        if room.has(tenant, MAX_BODY_BYTES):
            room.take(tenant, MAX_BODY_BYTES)
        else:
            await self._wait(tenant)
        size = 0
        try:
            raw = await self._receive(call)
            size = len(raw)
            room.take(tenant, size)
            held.size = size
            call.message = raw
        finally:
            room.give_back(tenant, MAX_BODY_BYTES)
        return size

    async def _wait(self, tenant: str) -> None:
        if not self._queue.has(tenant):
            raise GatewayOverloaded(retry_after_seconds=1.0)
        self._queue.take(tenant)
        try:
            await self._room.wait(tenant, MAX_BODY_BYTES)
        finally:
            self._queue.give_back(tenant)

    async def _receive(self, call: Call) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        reading = self._reading[call] = _Reading(task, self._clock.monotonic())
        if self._check is None:
            self._check = task.get_loop().call_later(_CHECK_SECONDS, self._give_up_late)
        try:
            raw: object = await call.context.read()
        except asyncio.CancelledError:
            if reading.given_up and task.uncancel() == 0:
                call.record.refusal = RefusalKind.BODY_LATE
                raise DeadlineExceeded("the request's body did not arrive in time") from None
            call.record.refusal = RefusalKind.GONE_BEFORE_BODY
            raise
        finally:
            del self._reading[call]
        if not isinstance(raw, bytes):
            # The end of the stream. It is also what a caller that has gone looks like; then this task is about to be
            # cancelled.
            await asyncio.sleep(0)
            raise InvalidRequest(())
        return raw

    def _give_up_late(self) -> None:
        """Gives up messages that take too long while others wait, and those whose call should have ended."""
        self._check = None
        now = self._clock.monotonic()
        for call, reading in self._reading.items():
            late = self._room.waiting and now - reading.started >= ARRIVAL_SECONDS
            if (late or now >= call.deadline) and not reading.given_up:
                reading.given_up = True
                reading.task.cancel()
        if self._reading:
            self._check = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._give_up_late)
