"""One warm connection to a Valkey server that all calls share: commands go out together, replies come back in order.

A client with a pool spends 50 to 70 us of processor time on a round trip, most of it on handing connections round. Here a
command is a future in a queue; what is asked in one turn of the event loop is one write. Below `nodes.py`; knows the
protocol's framing and time-outs, nothing of scripts or quotas. Never retries: what is safe to ask twice, its caller knows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from gateway.quota.store import OutageCause, StoreUnavailable

LATE_SECONDS = 0.005
"""A timer that fires later than this says that the event loop was late, not the store."""

_CONNECT_SECONDS = 1.0
"""How long a connection may take to be made. A command waits for it within its own time; the next one finds it there."""

_SECOND_LOOK_SECONDS = 0.002
_AFTER_LAG_SECONDS = 0.008
_MOST_LOOKS = 6
_NO_REPLY = object()


class Lost(StoreUnavailable):
    """The connection was given up with the command on it: it may have run, and may be asked again by the same id."""


def pack(*words: str | int) -> bytes:
    """A command as the protocol writes it."""
    packed: bytes = hiredis.pack_command(cast("tuple[str | int | float | bytes | memoryview[int]]", words))
    return packed


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and how to be let in. `password` is asked at each connection, since it may change."""

    host: str
    port: int
    database: int = 0
    username: str = ""
    password: Callable[[], str] = str
    tls: ssl.SSLContext | None = field(default=None, repr=False)


class _Connection(asyncio.Protocol):
    """Frames replies and hands them to whoever waits longest, if they begin with that one's echo.

    A wait that timed out keeps its place in the queue: its reply may still come, and the ones after it are not lost. If
    it never comes, the next reply shows that by its echo.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NO_REPLY)
        self._waiting: deque[tuple[asyncio.Future[Any], bytes | None]] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def send(self, command: bytes, echo: bytes | None = None) -> asyncio.Future[Any]:
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((reply, echo))
        self._unsent.append(command)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        return reply

    def _flush(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NO_REPLY and not self.closed:
                self._hand_over(reply)
        except hiredis.ProtocolError:
            self.abort()

    def _hand_over(self, reply: Any) -> None:
        if not self._waiting:
            self.abort()  # An answer that nobody asked for.
            return
        waiting, echo = self._waiting[0]
        if echo is not None and not _answers(reply, echo):
            # Behind a wait that timed out this is the next one's reply; otherwise it is nonsense.
            self.abort(OutageCause.TIMEOUT if waiting.done() else OutageCause.CONNECTION)
            return
        self._waiting.popleft()
        if not waiting.done():
            waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.abort()

    def abort(self, cause: OutageCause = OutageCause.CONNECTION) -> None:
        """Gives the connection up, and tells all who wait."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(Lost(cause))
                waiting.exception()  # Seen, even if whoever waited has gone: asyncio would print it otherwise.


def _answers(reply: Any, echo: bytes) -> bool:
    return isinstance(reply, hiredis.ReplyError) or (isinstance(reply, list) and bool(reply) and reply[0] == echo)


class Lane:
    """The connection to one server; made anew by the next command when it was lost."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connection: _Connection | None = None
        self._connecting: asyncio.Task[_Connection] | None = None

    async def call(self, command: bytes, due: float, *, echo: bytes | None = None, asking: bytes | None = None) -> Any:
        """The reply to a packed command, a `hiredis.ReplyError` included. `due` is a time of the event loop.

        With `echo`, the reply must be a list that begins with it: the proof that it answers this command. `asking` is
        sent just before. Raises `StoreUnavailable` when there is no reply by `due`, `Lost` when the connection broke.
        """
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._connected(due)
            if connection.closed:
                raise Lost(OutageCause.CONNECTION)
        if asking is not None:
            connection.send(asking)
        loop = asyncio.get_running_loop()
        waiting = connection.send(command, echo)
        first_look = due - _SECOND_LOOK_SECONDS
        timer = loop.call_at(first_look, _look_again, loop, waiting, first_look)
        try:
            return await waiting
        finally:
            timer.cancel()

    async def _connected(self, due: float) -> _Connection:
        task = self._connecting
        if task is None:
            task = self._connecting = asyncio.create_task(self._connect())
            task.add_done_callback(self._connect_ended)
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_LOOKS):
            await asyncio.wait((task,), timeout=max(_SECOND_LOOK_SECONDS, due - loop.time()))
            if task.done() or loop.time() < due + LATE_SECONDS:
                break
            due = loop.time() + _SECOND_LOOK_SECONDS  # The event loop was late, not the store.
        if not task.done():
            # It goes on: with TLS and a password it takes several round trips, which one command's time may not hold.
            raise StoreUnavailable(OutageCause.TIMEOUT)
        if task.cancelled():  # By `disconnect`: no reason for the caller to think that it was cancelled.
            raise Lost(OutageCause.CONNECTION)
        return task.result()

    def _connect_ended(self, task: asyncio.Task[_Connection]) -> None:
        connection = None if task.cancelled() or task.exception() is not None else task.result()
        if self._connecting is task:
            self._connecting = None
            self._connection = connection
        elif connection is not None:
            connection.abort()  # It was given up in the moment in which it was made.

    async def _connect(self) -> _Connection:
        address, loop = self.address, asyncio.get_running_loop()
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                _, connection = await loop.create_connection(_Connection, address.host, address.port, ssl=address.tls)
                await _greet(connection, address)
        except BaseException as error:
            if connection is not None:
                connection.abort()
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(OutageCause.TIMEOUT) from None
            if isinstance(error, OSError):
                raise Lost(OutageCause.CONNECTION) from None
            raise
        return connection

    def disconnect(self) -> None:
        """Gives the connection up; the next command makes a new one."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.abort()
            self._connection = None


async def _greet(connection: _Connection, address: Address) -> None:
    """Says who asks, and which database is meant. Raises `StoreUnavailable` if the server will not have it."""
    greetings: list[tuple[str, ...]] = []
    if password := address.password():
        greetings.append(("AUTH", address.username or "default", password))
    if address.database:
        greetings.append(("SELECT", str(address.database)))
    replies = [connection.send(pack(*greeting)) for greeting in greetings]
    for waiting in replies:
        if isinstance(await waiting, hiredis.ReplyError):
            raise StoreUnavailable(OutageCause.REFUSED)


def _look_again(
    loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[Any], due: float, looks: int = _MOST_LOOKS
) -> None:
    """The time is over by the clock; but if the event loop was late, the reply lies unread or the command unsent.

    So a wait ends only when a timer came in time and the socket was read after it: `looks` bounds how often.
    """
    if waiting.done():
        return
    late = loop.time() - due > LATE_SECONDS
    if looks and (late or looks == _MOST_LOOKS):
        again = loop.time() + (_AFTER_LAG_SECONDS if late else _SECOND_LOOK_SECONDS)
        loop.call_at(again, _look_again, loop, waiting, again, looks - 1)
    else:
        waiting.set_exception(StoreUnavailable(OutageCause.TIMEOUT))
