"""The line to a Valkey (or Redis 7, or a cluster of either): commands with a time limit, and what their failures mean.

No command takes longer than 50 ms, and a failed one takes the store out (`health.py`), so that no other waits for it.
Few commands are in flight at once, on few connections: opening one costs more processor time than ten commands, and a
burst that opened many would look like a slow store. The only module of the cache that knows the client; knows nothing of
keys, records or seals.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as StoreTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.cache.health import Cause, Health
from gateway.cache.store import StoreOut

T = TypeVar("T")
StoreClient = Redis | RedisCluster

BUDGET_SECONDS = 0.05
_RECONNECT_SECONDS = 0.5
_IN_FLIGHT = 8
_MAX_CONNECTIONS = 16
_DEFAULT_PORT = 6379
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
        """The value; raises `ForeignValue` if it is no string."""
        value: bytes | None = await self._limited(lambda: self._get(address))
        return value

    async def seconds_left(self, address: bytes) -> float | None:
        """How long the store will keep the value: below 0 if it is gone, None if for ever."""
        left_ms: int = await self._limited(lambda: self._client.pttl(address))
        return None if left_ms == _FOR_EVER else left_ms / 1000

    async def fields(self, address: bytes) -> Mapping[bytes, bytes]:
        """A hash's fields. Allowed while the store is out: it is the probe."""
        fields: Mapping[bytes, bytes] = await self._limited(lambda: self._client.hgetall(address), probe=True)
        return fields

    async def run(self, script: Script, address: bytes, *arguments: str | int | bytes, probe: bool = False) -> Any:
        """A script's result; raises `Refused` when the store will not run it. `probe`: also while the store is out."""
        return await self._limited(lambda: self._run(script, address, *arguments), probe=probe, may_refuse=True)

    async def reconnect(self) -> None:
        """Closes what is left of earlier connections, each of which would fail one more call, and opens a new one."""
        try:
            async with asyncio.timeout(_RECONNECT_SECONDS):
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

    async def _get(self, address: bytes) -> bytes | None:
        try:
            value: bytes | None = await self._client.get(address)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise ForeignValue from None
            raise
        return value

    async def _run(self, script: Script, address: bytes, *arguments: str | int | bytes) -> Any:
        try:
            return await self._client.evalsha(script.sha, 1, address, *arguments)
        except NoScriptError:
            return await self._client.eval(script.text, 1, address, *arguments)

    async def _limited(
        self, command: Callable[[], Awaitable[T]], *, probe: bool = False, may_refuse: bool = False
    ) -> T:
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


class _Login(CredentialProvider):
    """Asks for the password at each connection, since it may change."""

    def __init__(self, username: str, password: Callable[[], str]) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str, str]:
        """As AUTH takes them."""
        return self._username or "default", self._password()

    async def get_credentials_async(self) -> tuple[str, str]:
        """The same: nothing is waited for."""
        return self.get_credentials()


def connect(
    url: str, *, username: str = "", password: Callable[[], str] = str, ca_file: Path | None = None
) -> StoreClient:
    """A client for `valkey://host:port/0`, `valkeys://` (TLS), or a comma list of hosts: a cluster. Does not connect yet.

    It never retries: redis-py's own ten retries would wait for seconds. What it would say of itself on each connection
    is left out, since that is most of what opening one costs.
    """
    scheme, _, rest = url.partition("://")
    tls = scheme in {"valkeys", "rediss"}
    options: dict[str, Any] = {
        "credential_provider": _Login(username, password) if password() else None,
        "socket_timeout": _RECONNECT_SECONDS,
        "socket_connect_timeout": _RECONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if tls and ca_file is not None:
        options["ssl_ca_certs"] = str(ca_file)
    if "," not in rest:
        pool = BlockingConnectionPool.from_url(
            f"{'rediss' if tls else 'redis'}://{rest}",
            max_connections=_MAX_CONNECTIONS,
            timeout=_RECONNECT_SECONDS,
            **options,
        )
        return Redis.from_pool(pool)
    nodes = [urlsplit(f"//{host}") for host in rest.partition("/")[0].split(",")]
    return RedisCluster(
        startup_nodes=[ClusterNode(node.hostname or "", node.port or _DEFAULT_PORT) for node in nodes],
        ssl=tls,
        max_connections=_MAX_CONNECTIONS,
        **options,
    )
