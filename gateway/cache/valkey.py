"""The line to a Valkey (or Redis 7, or a cluster of either): commands with a time limit, and what their failures mean.

No command takes longer than 50 ms, and a failed one takes the store out (`health.py`), so that no other waits for it.
Few commands are in flight at once, on few connections: opening one costs more processor time than ten commands, and a
burst that opened many would look like a slow store. How the client connects and reads is in `client.py`.

What comes back is checked here: whatever it is, a caller gets a value of the declared type or one of the exceptions
named below. Knows nothing of keys, records or seals.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as StoreTimeoutError

from gateway.cache.client import RECONNECT_SECONDS, StoreClient
from gateway.cache.health import Cause, Health
from gateway.cache.replies import OversizeReply
from gateway.cache.store import StoreOut

BUDGET_SECONDS = 0.05
MAX_VALUE_BYTES = 16_384
"""Maximum size of a stored value: three times what eight full answers take."""
_IN_FLIGHT = 8
_FOR_EVER = -1
_LATE_FACTOR = 1.4
_LATE_IN_A_ROW = 3


def nobody(seconds: float) -> None:
    """Listens, and does nothing."""


class Refused(Exception):
    """The store answered that it will not: full, a replica, no permission. Carries none of its text."""


class ForeignValue(Exception):
    """Under the address is something that no replica puts there."""


class Script:
    """A Lua script beside this file, and the digest that the store knows it by."""

    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name(name).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Link:
    """Commands to the store. Each raises `StoreOut`, having told `health`, unless the store answers in time."""

    def __init__(
        self,
        client: StoreClient,
        health: Health,
        *,
        budget_seconds: float,
        went_out: Callable[[], None],
        asked: Callable[[float], None],
    ) -> None:
        """`client` as made by `connect`; a command may take `budget_seconds`; `went_out` is called when the store that was in is found out.

        `asked` is told how many seconds each command took, answered or not.
        """
        self._client: Any = client
        self._health = health
        self._budget_seconds = budget_seconds
        self._went_out = went_out
        self._asked = asked
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._late_in_a_row = 0

    async def get(self, address: bytes) -> bytes | None:
        """The value. Raises `ForeignValue` for anything that is not a string of an acceptable size."""
        value = await self._limited(lambda: self._get(address))
        if value is None or (isinstance(value, bytes) and len(value) <= MAX_VALUE_BYTES):
            return value
        raise ForeignValue

    async def seconds_left(self, address: bytes) -> float | None:
        """How long the store will keep the value: below 0 if it is gone, None if for ever. Raises `ForeignValue`."""
        left_ms = await self._limited(lambda: self._client.pttl(address))
        if not isinstance(left_ms, int):
            raise ForeignValue
        return None if left_ms == _FOR_EVER else left_ms / 1000

    async def run(self, script: Script, address: bytes, *arguments: str | int | bytes, probe: bool = False) -> object:
        """A script's reply, of whatever type; raises `Refused` when the store will not run it.

        `probe`: also while the store is unavailable.
        """
        return await self._limited(lambda: self._run(script, address, *arguments), probe=probe, may_refuse=True)

    async def swap(self, script: Script, address: bytes, *arguments: str | int | bytes) -> bool:
        """The reply of a script that returns 1 or 0; raises `Refused` like `run`."""
        swapped = await self.run(script, address, *arguments)
        if swapped not in (0, 1):
            self.out(Cause.GARBAGE)
            raise StoreOut
        return swapped == 1

    async def reconnect(self) -> None:
        """Closes what is left of earlier connections, each of which would fail one more call, and opens a new one."""
        try:
            async with asyncio.timeout(RECONNECT_SECONDS):
                if isinstance(self._client, RedisCluster):
                    await self._client.aclose()
                else:
                    await self._client.connection_pool.disconnect()
                await self._client.ping()
        except (TimeoutError, StoreTimeoutError):
            self.out(Cause.TIMEOUT)
        except Exception:  # noqa: BLE001 - as in `_limited`
            self.out(Cause.CONNECTION)
        else:
            return
        raise StoreOut

    def out(self, cause: Cause) -> None:
        """The store is out."""
        if self._health.failed(cause):
            self._went_out()

    async def _get(self, address: bytes) -> object:
        try:
            return await self._client.get(address)
        except OversizeReply:
            raise ForeignValue from None
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise ForeignValue from None
            raise

    async def _run(self, script: Script, address: bytes, *arguments: str | int | bytes) -> Any:
        try:
            return await self._client.evalsha(script.sha, 1, address, *arguments)
        except NoScriptError:
            return await self._client.eval(script.text, 1, address, *arguments)

    async def _limited(
        self, command: Callable[[], Awaitable[object]], *, probe: bool = False, may_refuse: bool = False
    ) -> object:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._slots:
            began = loop.time()
            # Behind a sluggish store the queue would grow for ever if it held those for whom nobody waits any more.
            if not probe and (self._health.is_out or began - asked > self._budget_seconds):
                raise StoreOut
            try:
                async with asyncio.timeout(self._budget_seconds):
                    result = await command()
            except (TimeoutError, StoreTimeoutError):
                self._timed_out(loop.time() - began)
            except ForeignValue:
                raise
            except ResponseError:
                if may_refuse:
                    raise Refused from None
                self.out(Cause.REFUSED)
            except (StoreConnectionError, OSError):
                self.out(Cause.CONNECTION)
            except Exception:  # noqa: BLE001 - what a client raises for bytes that make no sense is not all documented
                self.out(Cause.GARBAGE)
            else:
                self._late_in_a_row = 0
                return result
            finally:
                self._asked(loop.time() - began)
        raise StoreOut

    def _timed_out(self, waited_seconds: float) -> None:
        # Noticed late, it may be this process that was busy and not the store that was slow: three of these count.
        if waited_seconds > self._budget_seconds * _LATE_FACTOR:
            self._late_in_a_row += 1
            if self._late_in_a_row < _LATE_IN_A_ROW:
                return
        self._late_in_a_row = 0
        self.out(Cause.TIMEOUT)
