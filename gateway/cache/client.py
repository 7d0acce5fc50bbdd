"""The client of the cache's store: how it connects, logs in, verifies a server, and how much of a reply it reads.

redis-py, with the parts replaced that trust the server too much: its reader takes in a reply of any size, its TLS
context writes session keys to the file named by SSLKEYLOGFILE, and its cluster follows a redirection to any host.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, NodesManager, RedisCluster
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import AskError, MovedError
from redis.exceptions import ConnectionError as StoreConnectionError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.cache.replies import BoundedParser, ClusterParser
from gateway.dial import dial
from gateway.resolver import verified_name
from gateway.tls import client_context

StoreClient = Redis | RedisCluster

RECONNECT_SECONDS = 0.5
"""How long making a connection may take."""
_MAX_CONNECTIONS = 16
_DEFAULT_PORT = 6379


class _Login(CredentialProvider):
    """Gets the password for each new connection, since it may change. Keeps none, and cannot be pickled or copied."""

    __slots__ = ("_password", "_username")

    def __init__(self, username: str, password: Callable[[], str]) -> None:
        self._username = username
        self._password = password

    def get_credentials(self) -> tuple[str, str]:
        """As AUTH takes them."""
        return self._username or "default", self._password()

    async def get_credentials_async(self) -> tuple[str, str]:
        """The same: nothing is waited for."""
        return self.get_credentials()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a store's login cannot be pickled or copied")


class _PlainConnection(Connection):
    """A connection to one of the host's addresses, as `dial` chooses it."""

    _address = ""

    async def _connect(self) -> None:
        async with asyncio.timeout(RECONNECT_SECONDS):
            await dial(self.host, self._connect_to, seconds=RECONNECT_SECONDS)

    async def _connect_to(self, address: str) -> None:
        self._address = address
        await super()._connect()  # type: ignore[no-untyped-call]

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "host": self._address}


class _TlsConnection(_PlainConnection):
    """A connection with a TLS context of our own, made when it is first used: an unusable file is an outage."""

    def __init__(self, *, ca_file: Path | None, **options: Any) -> None:
        super().__init__(**options)
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def _connection_arguments(self) -> dict[str, Any]:
        if self._context is None:
            self._context = client_context(self._ca_file)
        arguments = super()._connection_arguments()
        return {**arguments, "ssl": self._context, "server_hostname": verified_name(self.host)}


class _MappedNodes(NodesManager):
    """A cluster's map that takes redirections to its own nodes only.

    A new node is found by reading the map again, which is what follows a failure. A redirection to another host may be
    forged, and following it would send the password there.
    """

    __slots__ = ()

    async def move_slot(self, e: AskError | MovedError) -> None:
        """Notes that a slot is at another node of the map."""
        if self.get_node(host=e.host, port=e.port) is None:
            raise StoreConnectionError("redirected to a node that is not in the cluster's map")
        await super().move_slot(e)


def connect(
    url: str, *, username: str = "", password: Callable[[], str] = str, ca_file: Path | None = None
) -> StoreClient:
    """A client for `valkey://host:port/0`, `valkeys://` (TLS), or a comma list of hosts: a cluster. Does not connect yet.

    It never retries: redis-py's own ten retries would wait for seconds. What it would report about itself on each
    connection is left out, since that is most of what opening one costs.
    """
    scheme, _, rest = url.partition("://")
    options: dict[str, Any] = {
        "credential_provider": _Login(username, password) if password() else None,
        "socket_timeout": RECONNECT_SECONDS,
        "socket_connect_timeout": RECONNECT_SECONDS,
        "protocol": 2,
        "driver_info": None,
    }
    own: dict[str, Any] = {"connection_class": _PlainConnection, "parser_class": BoundedParser}
    if scheme in {"valkeys", "rediss"}:
        own |= {"connection_class": _TlsConnection, "ca_file": ca_file}
    retry, notifications = Retry(NoBackoff(), 0), MaintNotificationsConfig(enabled=False)
    hosts, _, database = rest.partition("/")
    places = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if len(places) == 1:
        pool = BlockingConnectionPool(
            host=places[0].hostname or "",
            port=places[0].port or _DEFAULT_PORT,
            db=int(database or 0),
            max_connections=_MAX_CONNECTIONS,
            timeout=RECONNECT_SECONDS,
            retry=retry,
            maint_notifications_config=notifications,
            **options,
            **own,
        )
        return Redis.from_pool(pool)
    nodes = [ClusterNode(place.hostname or "", place.port or _DEFAULT_PORT) for place in places]
    cluster = RedisCluster(
        startup_nodes=nodes,
        max_connections=_MAX_CONNECTIONS,
        retry=retry,
        maint_notifications_config=notifications,
        **options,
    )
    # The constructor takes neither the class of a connection nor that of its reader.
    cluster.connection_kwargs.update(own | {"parser_class": ClusterParser})
    seeds = [ClusterNode(node.host, node.port, **cluster.connection_kwargs) for node in nodes]
    cluster.startup_nodes = seeds
    cluster.nodes_manager = _MappedNodes(seeds, require_full_coverage=True, connection_kwargs=cluster.connection_kwargs)
    return cluster
