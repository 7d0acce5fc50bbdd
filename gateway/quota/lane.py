"""The connection to one server, which all calls share; made again by the next command when it was lost.

A client with a pool spends 50 to 70 us of processor time on a round trip, most of it on handing connections round. Here a
command is a future in a queue; what is asked in one turn of the event loop is one write. Below `nodes.py`; knows the
protocol's framing and time-outs, nothing of scripts or quotas. Never retries: what is safe to ask twice, its caller knows.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis

from gateway.dial import dial
from gateway.quota.connection import (
    LATE_SECONDS,
    MOST_LOOKS,
    SECOND_LOOK_SECONDS,
    Connection,
    Lost,
    look_again,
)
from gateway.quota.framing import REPLY_BYTES
from gateway.quota.store import OutageCause, StoreUnavailable
from gateway.resolver import verified_name

_CONNECT_SECONDS = 1.0
"""How long a connection may take to be made. A command waits for it within its own time; the next one finds it there."""


def pack(*words: str | int) -> bytes:
    """A command as the protocol writes it."""
    packed: bytes = hiredis.pack_command(cast("tuple[str | int | float | bytes | memoryview[int]]", words))
    return packed


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and how to be let in. `password` is read at each connection, since it may change."""

    host: str
    port: int
    database: int = 0
    username: str = ""
    password: Callable[[], str] = str
    tls: ssl.SSLContext | None = field(default=None, repr=False)


class Lane:
    """One server, and the connection to it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None

    async def call(
        self,
        command: bytes,
        due: float,
        *,
        echo: bytes | None = None,
        asking: bytes | None = None,
        limit: int = REPLY_BYTES,
    ) -> Any:
        """The reply to a packed command, a `hiredis.ReplyError` included. `due` is a time of the event loop.

        With `echo`, the reply must be a list that begins with it: the proof that it answers this command. `asking` is
        sent just before. `limit` is the maximum size of the reply in bytes. Raises `StoreUnavailable` when there is no
        reply by `due`, `Lost` when the connection broke.
        """
        connection = self._connection
        if connection is None or connection.closed:
            connection = await self._connected(due)
            if connection.closed:
                raise Lost(OutageCause.CONNECTION)
        if asking is not None:
            connection.send(asking)
        loop = asyncio.get_running_loop()
        waiting = connection.send(command, echo, limit)
        first_look = due - SECOND_LOOK_SECONDS
        timer = loop.call_at(first_look, look_again, loop, waiting, first_look)
        try:
            return await waiting
        except StoreUnavailable as failure:
            if failure.cause is OutageCause.TIMEOUT:
                connection.timed_out()
            raise
        finally:
            timer.cancel()

    async def _connected(self, due: float) -> Connection:
        task = self._connecting
        if task is None:
            task = self._connecting = asyncio.create_task(self._connect())
            task.add_done_callback(self._connect_ended)
        loop = asyncio.get_running_loop()
        for _ in range(MOST_LOOKS):
            await asyncio.wait((task,), timeout=max(SECOND_LOOK_SECONDS, due - loop.time()))
            if task.done() or loop.time() < due + LATE_SECONDS:
                break
            due = loop.time() + SECOND_LOOK_SECONDS  # The event loop was late, not the store.
        if not task.done():
            # It goes on: with TLS and a password it takes several round trips, which one command's time may not hold.
            raise StoreUnavailable(OutageCause.TIMEOUT)
        if task.cancelled():  # By `disconnect`: no reason for the caller to think that it was cancelled.
            raise Lost(OutageCause.CONNECTION)
        return task.result()

    def _connect_ended(self, task: asyncio.Task[Connection]) -> None:
        connection = None if task.cancelled() or task.exception() is not None else task.result()
        if self._connecting is task:
            self._connecting = None
            self._connection = connection
        elif connection is not None:
            connection.abort()  # It was given up in the moment in which it was made.

    async def _connect(self) -> Connection:
        address = self.address
        connection: Connection | None = None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                connection = await dial(address.host, self._connect_to, seconds=_CONNECT_SECONDS)
                await _greet(connection, address)
        except BaseException as error:
            if connection is not None:
                connection.abort()
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(OutageCause.TIMEOUT) from None
            if isinstance(error, (OSError, ValueError)):  # ValueError: a name that cannot be one.
                raise Lost(OutageCause.CONNECTION) from None
            raise
        return connection

    async def _connect_to(self, ip: str) -> Connection:
        address, loop = self.address, asyncio.get_running_loop()
        name = verified_name(address.host) if address.tls else None
        _, connection = await loop.create_connection(
            Connection, ip, address.port, ssl=address.tls, server_hostname=name
        )
        return connection

    def disconnect(self, cause: OutageCause = OutageCause.CONNECTION) -> None:
        """Gives the connection up; the next command makes a new one."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._connection is not None:
            self._connection.abort(cause)
            self._connection = None


async def _greet(connection: Connection, address: Address) -> None:
    """Says who asks, and which database is meant. Raises `StoreUnavailable` if the server will not have it."""
    greetings: list[tuple[str, ...]] = []
    if password := address.password():
        greetings.append(("AUTH", address.username or "default", password))
    if address.database:
        greetings.append(("SELECT", str(address.database)))
    replies = [connection.send(pack(*greeting)) for greeting in greetings]
    for waiting in replies:
        if await waiting != b"OK":
            raise StoreUnavailable(OutageCause.REFUSED)
