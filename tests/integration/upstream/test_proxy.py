"""Where the only way out is a proxy: searches go through it, and it learns nothing but the vendor's name."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from gateway.errors import UpstreamUnavailable
from gateway.model import Outcome
from gateway.rpc.status import status_of
from gateway.secret import Secret
from gateway.tls import client_context
from gateway.upstream.proxy import MAX_HEAD_BYTES, Proxy
from tests.support.conditions import eventually
from tests.support.logs import caught_logs
from tests.support.names import resolve
from tests.support.pki import Authority
from tests.support.proxy import ConnectProxy
from tests.support.valkey import free_port
from tests.support.vendor import OK, Connection, Vendor, always
from tests.support.vendor_client import API_SECRET, client, query, trip

NAME = "vendor.example"
LOGIN = "gateway:pass:word é"
IMAGE = b"\xff\xd8canary of an image"


class Stage:
    """Certificates for a vendor and a proxy, of two authorities."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vendor_tls = self._server("vendor", NAME)
        self.proxy_tls = self._server("proxy", "proxy.corp.example")

    def _server(self, kind: str, name: str) -> ssl.SSLContext:
        authority = Authority(kind)
        certificate = authority.server(name)
        (self.folder / f"{kind}-ca.pem").write_bytes(authority.pem)
        (self.folder / f"{kind}.pem").write_bytes(certificate.certificate + certificate.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{kind}.pem")
        return context

    @property
    def vendor_ca(self) -> Path:
        return self.folder / "vendor-ca.pem"

    def trusting_proxy(self) -> ssl.SSLContext:
        """The context for an `https://` proxy."""
        return client_context(self.folder / "proxy-ca.pem", alpn=("http/1.1",))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    # A vendor's name that nobody but the proxy can look up.
    asked = resolve(monkeypatch, NAME)
    yield Stage(tmp_path)
    assert asked == []


@pytest.mark.parametrize("over_tls", [False, True], ids=["http proxy", "https proxy"])
async def test_searches_go_through_the_proxy(over_tls: bool, stage: Stage) -> None:
    """On kept connections, of any size. The proxy is asked for the name, and sees neither secret nor image."""
    async with (
        Vendor(always(OK), tls=stage.vendor_tls) as vendor,
        ConnectProxy(stage.proxy_tls if over_tls else None, places={NAME: vendor.port}) as proxy,
    ):
        way = Proxy("localhost", proxy.port, stage.trusting_proxy() if over_tls else None)
        async with client(f"https://{NAME}", ca_file=stage.vendor_ca, proxy=way) as upstream:
            assert (await upstream.search(query(IMAGE), trip())).outcome is Outcome.MATCHED
            assert (await upstream.search(query(IMAGE * 200_000), trip())).outcome is Outcome.MATCHED
        await eventually(lambda: not proxy.open, "the connection is closed")
        assert [head.split("\r\n")[0] for head in proxy.asked] == [f"CONNECT {NAME}:443 HTTP/1.1"]
        assert "proxy-authorization" not in proxy.asked[0].lower()
        assert (vendor.accepted, vendor.received[0].headers["host"]) == (1, NAME)
        assert len(proxy.carried) > 4_000_000
        assert API_SECRET.encode() not in proxy.carried
        assert b"canary" not in proxy.carried


async def test_the_proxy_gets_its_credentials(stage: Stage) -> None:
    """As they are when a connection is made: they may change while the gateway runs."""
    current = [Secret(LOGIN)]
    async with (
        Vendor(always(OK), tls=stage.vendor_tls) as vendor,
        ConnectProxy(places={NAME: vendor.port}) as proxy,
    ):
        way = Proxy("127.0.0.1", proxy.port, login=lambda: current[0])
        assert "pass:word" not in repr(way)
        settings = {"ca_file": stage.vendor_ca, "proxy": way, "keep_alive": False}
        async with client(f"https://{NAME}", **settings) as upstream:
            await upstream.search(query(), trip())
            current[0] = Secret("other:one")
            await upstream.search(query(), trip())
    for head, login in zip(proxy.asked, (LOGIN, "other:one"), strict=True):
        assert f"Proxy-Authorization: Basic {base64.b64encode(login.encode()).decode()}\r\n" in head


async def test_a_vendor_without_tls_is_reached_too() -> None:
    """A sandbox on loopback, behind a proxy that a developer tries out."""
    async with Vendor(always(OK)) as vendor, ConnectProxy() as proxy:
        async with client(vendor.base_url, proxy=Proxy("127.0.0.1", proxy.port)) as upstream:
            await upstream.search(query(), trip())
            await upstream.search(query(), trip())
        assert (len(proxy.asked), vendor.accepted) == (1, 1)


async def test_an_end_behind_the_proxy_is_seen(stage: Stage) -> None:
    """A kept connection that the vendor has closed is not used again."""

    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        connection.writer.close()

    async with (
        Vendor(once, tls=stage.vendor_tls) as vendor,
        ConnectProxy(places={NAME: vendor.port}) as proxy,
    ):
        way = Proxy("127.0.0.1", proxy.port)
        async with client(f"https://{NAME}", ca_file=stage.vendor_ca, proxy=way) as upstream:
            await upstream.search(query(), trip())
            await eventually(lambda: vendor.open == 0, "the vendor has closed")
            await upstream.search(query(), trip())
        assert len(proxy.asked) == 2


REFUSALS = {
    "wants credentials": (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy_login_refused"),
    "forbids": (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy_refused"),
    "cannot reach the vendor": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "connect_error"),
    "redirects": (b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", "proxy_refused"),
    "speaks another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "proxy_error"),
    "says more than it was asked": (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "proxy_error"),
    "has no end": (b"HTTP/1.1 200 OK\r\nx: " + b"a" * (MAX_HEAD_BYTES + 1), "proxy_error"),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_proxy_that_does_not_let_us_through(kind: str, stage: Stage) -> None:
    """An outage in which nothing was sent to the vendor; operators learn what to do about it."""
    answer, status = REFUSALS[kind]
    async with ConnectProxy(answer=answer) as proxy:
        with caught_logs(stage.folder) as logs:
            async with client(f"https://{NAME}", proxy=Proxy("127.0.0.1", proxy.port)) as upstream:
                who = trip()
                with pytest.raises(UpstreamUnavailable) as caught:
                    await upstream.search(query(), who)
            if status != "connect_error":
                await eventually(lambda: any(line["event"].startswith("upstream.proxy") for line in logs.lines()), kind)
                assert "upstream.proxy.url" in logs.text or status != "proxy_error"
    assert (caught.value.upstream_status, who.attempts) == (status, 0)
    assert "grpc-retry-pushback-ms" not in dict(status_of(caught.value, "r1").trailers)
    assert caught.value.__context__ is None


async def test_a_proxy_that_is_not_there(stage: Stage) -> None:
    """Or whose name leads nowhere."""
    for host, port in (("127.0.0.1", free_port()), ("proxy.invalid", 3128)):
        async with client(f"https://{NAME}", proxy=Proxy(host, port)) as upstream:
            with pytest.raises(UpstreamUnavailable) as caught:
                await upstream.search(query(), trip())
        assert caught.value.upstream_status == "proxy_error"


@pytest.mark.parametrize("kind", ["the proxy", "the vendor"])
async def test_a_certificate_of_somebody_else(kind: str, stage: Stage) -> None:
    """Each is verified by its own authorities and name; neither is taken for the other."""
    # asyncio's own TLS within TLS breaks in some versions of Python when a certificate is refused.
    over_tls = kind == "the proxy" or isinstance(asyncio.get_running_loop(), uvloop.Loop)
    async with (
        Vendor(always(OK), tls=stage.vendor_tls) as vendor,
        ConnectProxy(stage.proxy_tls if over_tls else None, places={NAME: vendor.port}) as proxy,
    ):
        trusted = client_context(stage.vendor_ca) if kind == "the proxy" else stage.trusting_proxy()
        way = Proxy("localhost", proxy.port, trusted if over_tls else None, login=lambda: Secret(LOGIN))
        ca_file = stage.vendor_ca if kind == "the proxy" else stage.folder / "proxy-ca.pem"
        async with client(f"https://{NAME}", ca_file=ca_file, proxy=way) as upstream:
            with pytest.raises(UpstreamUnavailable) as caught:
                await upstream.search(query(), trip())
        assert caught.value.upstream_status == ("proxy_tls_error" if kind == "the proxy" else "tls_error")
        assert vendor.received == []
        assert len(proxy.asked) == (0 if kind == "the proxy" else 1)
