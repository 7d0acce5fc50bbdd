"""How a host's name leads to a connection: of the vendor, and of the stores, which share one resolver."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path

import pytest

from gateway import dial as module
from gateway.auth.jwks_fetch import open_session
from gateway.cache.client import connect as cache_client
from gateway.dial import NoAllowedAddress, anywhere, dial
from gateway.errors import UpstreamTimeout
from gateway.quota.link import link_to
from gateway.tls import client_context
from gateway.upstream.pool import Pool
from gateway.upstream.route import Direct
from tests.support.conditions import eventually
from tests.support.names import resolve
from tests.support.oidc import serve_keys
from tests.support.pki import Authority
from tests.support.vendor import OK, Vendor, always
from tests.support.vendor_client import client, query, trip

NAME = "vendor.example"


async def _pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        while await reader.readuntil(b"PING\r\n"):
            writer.write(b"+PONG\r\n")
    writer.close()


async def test_many_new_connections_make_one_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup takes 200 ms in some clusters; connections that are cut after each request must not wait for it."""
    asked = resolve(monkeypatch, NAME, "127.0.0.1")
    async with Vendor(always(OK)) as vendor:
        pool = Pool(Direct(NAME, vendor.port, None, allows=anywhere), 20.0)
        for _ in range(2):
            for connection in await asyncio.gather(*(pool.connect() for _ in range(8))):
                connection.abort()
        await eventually(lambda: vendor.accepted == 16, "all connections were made")
    assert asked == [NAME]


async def test_a_vendor_s_name_that_hangs_keeps_no_store_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop has two threads for names: two lookups that hung once kept the stores and issuers' keys away."""
    goes = threading.Event()
    for number in range(4):
        resolve(monkeypatch, f"{number}.example", "127.0.0.1", wait=lambda: goes.wait(30))
    resolve(monkeypatch, "store.example", "127.0.0.1")
    searches = []
    try:
        async with asyncio.timeout(30), await asyncio.start_server(_pong, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            for number in range(4):
                upstream = client(f"https://{number}.example", timeout_seconds=60.0)
                searches.append(asyncio.create_task(_search(upstream)))
            await asyncio.sleep(0)
            link = link_to(f"valkey://store.example:{port}/0")
            await link.warm(10.0)
            link.disconnect()
            cache = cache_client(f"valkey://store.example:{port}/0")
            assert await cache.ping()
            await cache.aclose()
            async with (
                serve_keys() as keys,
                open_session() as session,
                session.get(keys.url.replace("127.0.0.1", "store.example")) as answer,
            ):
                assert answer.status == 200
            assert not any(search.done() for search in searches)
    finally:
        goes.set()
        for search in searches:
            search.cancel()
        await asyncio.gather(*searches, return_exceptions=True)


async def _search(upstream: object) -> None:
    async with upstream as opened:  # type: ignore[attr-defined]
        await opened.search(query(), trip())


async def test_a_name_that_hangs_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection's own; nothing was sent."""
    goes = threading.Event()
    resolve(monkeypatch, NAME, "127.0.0.1", wait=lambda: goes.wait(30))
    async with client(f"https://{NAME}", timeout_seconds=1.0) as upstream:
        with pytest.raises(UpstreamTimeout) as caught:
            await upstream.search(query(), trip())
    goes.set()
    assert (caught.value.upstream_status, caught.value.attempts) == ("connect_timeout", 0)


async def test_an_address_that_does_not_answer_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every new connection once waited 2.5 s for it. The others of the name come first now."""
    resolve(monkeypatch, NAME, "192.0.2.1", "192.0.2.2")
    tried: list[str] = []

    async def connect(address: str) -> str:
        tried.append(address)
        if address == "192.0.2.1":
            await asyncio.Event().wait()
        return address

    assert await dial(NAME, connect, seconds=0.2) == "192.0.2.2"
    assert await dial(NAME, connect, seconds=0.2) == "192.0.2.2"
    assert tried == ["192.0.2.1", "192.0.2.2", "192.0.2.2"]


async def test_the_last_address_that_does_not_answer_is_remembered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is the caller's, who cancels."""
    resolve(monkeypatch, NAME, "192.0.2.1", "192.0.2.2")
    tried: list[str] = []

    async def connect(address: str) -> str:
        tried.append(address)
        if address == "192.0.2.2":
            await asyncio.Event().wait()
        raise ConnectionRefusedError

    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await dial(NAME, connect, seconds=0.1)
    assert tried == ["192.0.2.1", "192.0.2.2"] * 2


async def test_the_check_is_made_of_every_address_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a remembered one: a name that leads elsewhere later (DNS rebinding) changes nothing."""
    resolve(monkeypatch, NAME, "192.0.2.1")

    async def connect(address: str) -> str:
        return address

    assert await dial(NAME, connect, seconds=1.0) == "192.0.2.1"
    with pytest.raises(NoAllowedAddress):
        await dial(NAME, connect, seconds=1.0, allows=lambda address: address != "192.0.2.1")


async def test_a_dot_at_the_end_of_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It says that the name is complete. Certificates and `Host` are without it, the lookup is with it."""
    asked = resolve(monkeypatch, f"{NAME}.", "127.0.0.1")
    authority = Authority()
    certificate = authority.server(NAME)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "server.pem").write_bytes(certificate.certificate + certificate.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    names: list[str | None] = []
    tls.sni_callback = lambda _connection, name, _context: names.append(name)
    settings = {"ca_file": tmp_path / "ca.pem", "allow_private_addresses": True}
    async with Vendor(always(OK), tls=tls) as vendor:
        async with client(f"https://{NAME}.:{vendor.port}", **settings) as upstream:
            await upstream.search(query(), trip())
        assert vendor.received[0].headers["host"] == f"{NAME}:{vendor.port}"
    async with await asyncio.start_server(_pong, "127.0.0.1", 0, ssl=tls) as server:
        url = f"valkeys://{NAME}.:{server.sockets[0].getsockname()[1]}/0"
        link = link_to(url, tls=client_context(tmp_path / "ca.pem"))
        await link.warm(10.0)
        link.disconnect()
        cache = cache_client(url, ca_file=tmp_path / "ca.pem")
        assert await cache.ping()
        await cache.aclose()
    assert names == [NAME] * 3
    assert asked == [f"{NAME}."]


def test_nothing_else_looks_names_up() -> None:
    """A lookup anywhere else would hang where this one does not."""
    root = Path(module.__file__).parent
    found = {
        file.relative_to(root).as_posix() for file in root.rglob("*.py") if "getaddrinfo(" in file.read_text("utf-8")
    }
    assert found == {"resolver.py", "sandbox/server.py"}
