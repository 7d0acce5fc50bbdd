"""Keeps the gateway within its capacity: calls in flight, and bytes of their bodies."""

from __future__ import annotations

import asyncio
import weakref

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.errors import DeadlineExceeded, GatewayOverloaded
from gateway.rpc.call import Body, Call
from gateway.rpc.interceptors import Ready, Waiting
from gateway.rpc.room import Room

# gRPC's own limit of a message: 5 MiB as base64 fits, so that an oversize image gets a proper error.
MAX_BODY_BYTES = 7 * 1024 * 1024
# The expected size of the next body forgets a large one by this factor a call.
_FORGET = 0.99
# A body that is waited for has this long to arrive. After the same time headers whose body never came are forgotten.
_ARRIVAL_SECONDS = 10.0


class Admit:
    """After authentication, so that only known callers take a place, and before the body is read.

    Calls beyond `max_calls` are refused at once. Bodies beyond `max_bytes` are left unread, so that HTTP/2's flow
    control holds them at the caller, until there is room; as many may wait as would fit, further ones are refused.
    """

    def __init__(self, max_calls: int, max_bytes: int, clock: Clock) -> None:
        self._max_calls = max_calls
        self._max_waiting = max(1, max_bytes // MAX_BODY_BYTES)
        self._clock = clock
        self._draining = False
        self._arriving: dict[weakref.ref[Call], float] = {}
        self._expected_size = float(MAX_BODY_BYTES)
        self._room = Room(max_bytes)
        self.calls = 0

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of the bodies of calls in flight."""
        return self._room.taken

    def drain(self) -> None:
        """Refuses every call from now on."""
        self._draining = True

    def on_headers(self, call: Call) -> bool:
        """False if the body has to wait for room."""
        now = self._clock.monotonic()
        arriving = self._arriving
        if arriving:
            self._forget_lost(now)
        if self._draining or self.calls + len(arriving) >= self._max_calls:
            raise GatewayOverloaded(retry_after_seconds=1.0)
        if not self._room.has(int((len(arriving) + 1) * self._expected_size)):
            return False
        arriving[weakref.ref(call, self._gone)] = now
        return True

    def wrap_ready(self, proceed: Ready) -> Ready:
        """Counts the call and its body while `proceed` runs."""

        async def admit(call: Call, raw: bytes) -> Message:
            self._enter(call)
            size = len(raw)
            self._hold(size)
            try:
                return await proceed(call, raw)
            finally:
                self._room.give_back(size)
                self.calls -= 1

        return admit

    def wrap(self, proceed: Waiting) -> Waiting:
        """Counts the call, reads its body once there is room, and counts that while `proceed` runs."""

        async def admit(call: Call, body: Body) -> Message:
            self._enter(call)
            try:
                size = len(await self._read(body))
                self._hold(size)
                try:
                    return await proceed(call, body)
                finally:
                    self._room.give_back(size)
            finally:
                self.calls -= 1

        return admit

    def _enter(self, call: Call) -> None:
        self._arriving.pop(weakref.ref(call), None)
        if self._draining or self.calls >= self._max_calls:
            raise GatewayOverloaded(retry_after_seconds=1.0)
        self.calls += 1

    def _hold(self, size: int) -> None:
        self._expected_size = max(size, self._expected_size * _FORGET)
        self._room.take(size)

    async def _read(self, body: Body) -> bytes:
        """Reads a body once the largest would fit."""
        if self._room.waiting >= self._max_waiting:
            raise GatewayOverloaded(retry_after_seconds=1.0)
        await self._room.wait(MAX_BODY_BYTES)
        try:
            async with asyncio.timeout(_ARRIVAL_SECONDS):
                return await body.read()
        except TimeoutError:
            raise DeadlineExceeded("the request's body did not arrive in time") from None
        finally:
            self._room.give_back(MAX_BODY_BYTES)

    def _gone(self, call: weakref.ref[Call]) -> None:
        """A caller left between headers and body. gRPC tells nobody, but lets go of the handler and with it the call."""
        self._arriving.pop(call, None)

    def _forget_lost(self, now: float) -> None:
        """A caller that stays and never sends its body: the oldest headers are looked at with each call."""
        while self._arriving:
            oldest = next(iter(self._arriving))
            if now - self._arriving[oldest] < _ARRIVAL_SECONDS:
                return
            del self._arriving[oldest]
