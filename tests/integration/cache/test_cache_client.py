"""How the cache's client connects: whom it trusts, what it keeps, and what others could read of it."""

from __future__ import annotations

import asyncio
import copy
import pickle
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from gateway.cache.client import connect
from gateway.cache.epochs import Scope
from gateway.cache.memory import Records
from gateway.cache.results import CachedAnswer
from gateway.cache.shared import ValkeyCacheStore
from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.tls import client_context
from tests.support.cache import asked, found, keep, looked_up, result_cache
from tests.support.conditions import eventually
from tests.support.lying_cache_store import lying_store
from tests.support.pki import Authority
from tests.support.valkey import StoreServer, running_store

PASSWORD = "canary-password-7319"


def server_context(folder: Path, authority: Authority) -> ssl.SSLContext:
    credentials = authority.server()
    (folder / "tls.pem").write_bytes(credentials.certificate + credentials.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context


async def used(client: Any) -> bool:
    """Whether the cache works over the client."""
    clock = SystemClock()
    store = ValkeyCacheStore(client, clock, Records(clock, 0), budget_seconds=5.0)
    if not await store.refresh():
        return False
    cache = result_cache(store, clock)
    key = cache.key("kyc", "employees", b"a photo")
    assert await keep(cache, key, asked(), found(0.9))
    return isinstance(await looked_up(cache, key, asked()), CachedAnswer)


@pytest.mark.parametrize("own_authority", [True, False])
async def test_tls_is_verified_and_its_keys_go_nowhere(
    server: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, own_authority: bool
) -> None:
    """SSLKEYLOGFILE, with which whoever reads the file could decrypt the password, is not honoured."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    authority, ca_file = Authority(), tmp_path / "ca.pem"
    ca_file.write_bytes((authority if own_authority else Authority("another CA")).pem)
    async with lying_store(server, server_context(tmp_path, authority)) as store:
        client = connect(store.url, ca_file=ca_file)
        assert await used(client) == own_authority
        await client.aclose()
    assert not (tmp_path / "keys").exists()


async def test_a_connection_of_a_cluster_writes_no_keys_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each node's connections are made by the map of nodes, not by a pool."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    client: Any = connect("valkeys://127.0.0.1:1,127.0.0.1:2")
    for node in client.nodes_manager.startup_nodes.values():
        context = node.acquire_connection()._connection_arguments()["ssl"]
        assert context.keylog_filename is None
        assert context.verify_mode is ssl.CERT_REQUIRED
    await client.aclose()


def test_a_context_for_clients_trusts_the_named_authorities_alone(tmp_path: Path) -> None:
    """Without a file it trusts those of the system."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(Authority().pem)
    context = client_context(ca_file)
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match="No such file"):
        client_context(tmp_path / "absent.pem")


def reachable(thing: object, seen: set[int], depth: int = 0) -> list[str]:
    """Texts found by `vars`, slots and containers, as a dump of variables would show them."""
    if depth > 12 or id(thing) in seen or isinstance(thing, type | Secret):
        return []
    seen.add(id(thing))
    if isinstance(thing, str | bytes | bytearray):
        return [thing if isinstance(thing, str) else bytes(thing).decode("latin-1")]
    if isinstance(thing, dict):
        parts = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset) or type(thing).__name__ == "deque":
        parts = list(thing)  # type: ignore[call-overload]
    else:
        names = [name for one in type(thing).__mro__ for name in getattr(one, "__slots__", ())]
        parts = [getattr(thing, name, None) for name in names] + list(getattr(thing, "__dict__", {}).values())
    return [repr(thing)] + [text for part in parts for text in reachable(part, seen, depth + 1)]


@pytest.mark.parametrize("cluster", [False, True])
async def test_the_password_is_in_no_attribute_repr_or_copy_of_the_client(*, cluster: bool) -> None:
    """It is with its provider alone, which gives it for each new connection."""
    secret = Secret(PASSWORD)
    with running_store(options=(("requirepass", PASSWORD),)) as locked:
        url = locked.url if not cluster else f"valkey://{locked.host}:{locked.port},{locked.host}:{locked.port}"
        client: Any = connect(url, password=secret.reveal)
        if cluster:
            node = next(iter(client.nodes_manager.startup_nodes.values()))
            connection = node.acquire_connection()
            await connection.connect()
        else:
            assert await used(client)
            connection = client.connection_pool._available_connections[0]
        texts = reachable([client, connection], set())
        assert len(texts) > 50
        assert not [text for text in texts if PASSWORD in text]
        login = connection.credential_provider
        for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be pickled"):
                attempt(login)
        await connection.disconnect()
        await client.aclose()


def documented_rights() -> list[str]:
    page = (Path(__file__).parents[3] / "docs/cache.md").read_text(encoding="utf-8")
    line = re.search(r"ACL SETUSER facegate-cache ([^`]*)", page)
    assert line
    return line.group(1).replace(">PASSWORD", f">{PASSWORD}").split()


async def test_an_account_with_the_documented_rights_is_enough(server: StoreServer) -> None:
    """The page's own line, one server and a purge included."""
    server.command("ACL", "SETUSER", "facegate-cache", *documented_rights())
    client = connect(server.url, username="facegate-cache", password=lambda: PASSWORD)
    assert await used(client)
    clock = SystemClock()
    store = ValkeyCacheStore(client, clock, Records(clock, 0), budget_seconds=5.0)
    assert await store.refresh()
    server.command("HSET", "facegate:cache:1:epochs", "x", "garbage")
    assert await store.purge(Scope("kyc")) > 1
    assert await store.refresh()
    # Once more the same key, and what is left of a record past its time.
    cache = result_cache(store, clock)
    key = cache.key("kyc", "employees", b"a photo")
    for _ in range(2):
        assert await keep(cache, key, asked(), found(0.9))
    assert await store._link.seconds_left(store._address(key)) > 0  # type: ignore[operator]
    await client.aclose()


async def test_a_redirection_to_a_host_that_is_not_in_the_map_is_not_followed(server: StoreServer) -> None:
    """It would get the password. The store counts as unavailable until the map has been read again."""
    visitors = 0

    def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal visitors
        visitors += 1
        writer.close()

    trap = await asyncio.start_server(visited, "127.0.0.1", 0)
    port = trap.sockets[0].getsockname()[1]
    async with lying_store(server) as store:
        place = b"*3\r\n$9\r\n127.0.0.1\r\n:%d\r\n$1\r\nn\r\n" % store.port
        slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n" + place

        kinds = [b"MOVED", b"ASK"]

        def lie(words: list[bytes]) -> bytes | None:
            if words[0] == b"CLUSTER":
                return slots
            if words[0] == b"GET":
                return b"-%s %d 127.0.0.1:%d\r\n" % (kinds[-1], key_slot(words[1]), port)
            return None

        store.lie = lie
        clock = SystemClock()
        client = connect(f"valkey://127.0.0.1:{store.port},127.0.0.1:{store.port}")
        seeds = list(client.nodes_manager.startup_nodes.values())  # type: ignore[union-attr]
        shared = ValkeyCacheStore(client, clock, Records(clock, 0), budget_seconds=2.0)
        cache = result_cache(shared, clock)
        while kinds:
            assert await shared.refresh()
            await looked_up(cache, cache.key("kyc", "employees", b"a photo"), asked())
            assert not shared.available
            kinds.pop()
        assert await shared.refresh()
        await asyncio.gather(*(seed.disconnect() for seed in seeds))
        await client.aclose()
    # The trap answers in the order in which clients came, so this one comes after any other.
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    await eventually(lambda: visitors > 0, "the trap is open")
    assert visitors == 1
    writer.close()
    await writer.wait_closed()
    trap.close()
