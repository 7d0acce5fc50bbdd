"""Reads the messages of open services, which strangers may call: small ones, a few at a time, for a short while.

gRPC reads a message whole before anybody can see how large it is, up to the server's limit of some MiB. So only `PLACES`
messages are read at a time. The message of an honest caller is a few bytes and arrives with its headers. So when all places
are taken, the call that has taken longest gives its place up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from grpc import StatusCode
from grpc.aio import ServicerContext

from gateway.rpc.places import Places
from gateway.telemetry.instruments import Counter
from gateway.telemetry.refusal_kinds import RefusalKind
from gateway.telemetry.refusals import Refusals

MAX_MESSAGE_BYTES = 4096
PLACES = 4
READ_SECONDS = 2.0
_PATIENCE_SECONDS = 0.002
"""A message that takes longer than this is given up if another one needs its place."""

Stream = ServicerContext[Any, Any]


class Refused(Exception):
    """An open call that is refused. `kind` counts it."""

    def __init__(self, code: StatusCode, message: str, kind: RefusalKind) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.kind = kind


class OpenDoor:
    """Bounds what the open calls of one listener may hold: messages that are being read at the same time."""

    def __init__(self, refusals: Refusals, calls: Counter) -> None:
        """`calls` counts the calls of open services by what they are."""
        self._refusals = refusals
        self._calls = calls
        self._reading: dict[asyncio.Task[Any], tuple[float, list[bool]]] = {}

    def opened(self, kind: str) -> None:
        """Counts a call."""
        self._calls.add((kind,))

    async def read(self, context: Stream, *, seconds: float = READ_SECONDS) -> bytes | None:
        """The next message; None if the caller sends no more. Raises `Refused`."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        self._make_room(loop.time())
        given_up = [False]
        self._reading[task] = (loop.time(), given_up)
        timer = loop.call_later(seconds, _give_up, task, given_up)
        try:
            raw: object = await context.read()
        except asyncio.CancelledError:
            if given_up[0] and task.uncancel() == 0:
                raise Refused(
                    StatusCode.DEADLINE_EXCEEDED, "the request's body did not arrive in time", RefusalKind.BODY_LATE
                ) from None
            raise
        finally:
            timer.cancel()
            del self._reading[task]
        if not isinstance(raw, bytes):
            return None
        if len(raw) > MAX_MESSAGE_BYTES:
            raise Refused(
                StatusCode.INVALID_ARGUMENT,
                f"a request of this service has at most {MAX_MESSAGE_BYTES} bytes",
                RefusalKind.OPEN_MESSAGE_TOO_LARGE,
            )
        return raw

    async def refuse(self, context: Stream, refusal: Refused) -> None:
        """Ends a call with the refusal's status and counts it."""
        self._refusals.count(refusal.kind)
        await context.abort(refusal.code, refusal.message)

    def _make_room(self, now: float) -> None:
        if len(self._reading) < PLACES:
            return
        for task, (started, given_up) in self._reading.items():
            if not given_up[0]:
                if now - started < _PATIENCE_SECONDS:
                    break
                _give_up(task, given_up)
                return
        raise Refused(StatusCode.UNAVAILABLE, "too many open calls at once", RefusalKind.HEALTH_LIMIT)


def _give_up(task: asyncio.Task[Any], given_up: list[bool]) -> None:
    if not given_up[0]:
        given_up[0] = True
        task.cancel()


class OpenStreams:
    """Streams of one open service that stay open: `size` in all, `per_connection` from each connection."""

    def __init__(self, size: int, per_connection: int, kind: RefusalKind) -> None:
        self._places = Places(size)
        self._per_connection = per_connection
        self._kind = kind

    @contextmanager
    def one(self, context: Stream) -> Iterator[None]:
        """A place for as long as the block runs. Raises `Refused` if there is none."""
        peer = context.peer()
        places = self._places
        if places.held(peer) >= self._per_connection or not places.has(peer):
            raise Refused(StatusCode.RESOURCE_EXHAUSTED, "too many streams of this service are open", self._kind)
        places.take(peer)
        try:
            yield
        finally:
            places.give_back(peer)
