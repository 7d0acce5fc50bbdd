"""Key sets fetched over real HTTP, and tokens verified with them."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.auth.jwks import MAX_DOCUMENT_BYTES
from gateway.auth.jwks_fetch import FetchFailed, fetch_from, open_session
from gateway.auth.jwt import Issuer, JwtVerifier
from gateway.auth.key_sources import FetchedKeys
from gateway.errors import CredentialsInvalid
from tests.support.clock import ManualClock
from tests.support.oidc import KeyServer, SigningKey, key_set, serve_keys
from tests.support.pki import Authority

ISSUER = "https://issuer.example"
KEY = SigningKey()


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with serve_keys() as server:
        server.document = key_set(KEY.jwk())
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


class Setup:
    """A verifier whose keys come from the server."""

    def __init__(self, server: KeyServer, session: aiohttp.ClientSession) -> None:
        self.clock = ManualClock()
        self.server = server
        self.keys = FetchedKeys(ISSUER, fetch_from(session, server.url), clock=self.clock)
        self.verifier = JwtVerifier([Issuer(ISSUER, "facegate", self.keys)], clock=self.clock)

    def token(self, key: SigningKey = KEY, headers: dict[str, Any] | None = None) -> str:
        """A token with good claims."""
        now = self.clock.now()
        return key.sign({"iss": ISSUER, "aud": "facegate", "sub": "api", "exp": now + 7200, "iat": now}, headers)

    async def passes(self, token: str) -> bool:
        """Whether a token is good."""
        try:
            return (await self.verifier.verify(token)).subject == "api"
        except CredentialsInvalid:
            return False

    async def refresh(self) -> None:
        """Runs what is due."""
        self.keys.fetch_if_due()
        await self.keys.settled()


@pytest.fixture
async def setup(server: KeyServer, session: aiohttp.ClientSession) -> AsyncIterator[Setup]:
    setup = Setup(server, session)
    await setup.refresh()
    assert len(server.requests) == 1
    yield setup
    await setup.keys.aclose()


async def test_a_token_passes_by_fetched_keys(setup: Setup) -> None:
    """One fetch, any number of tokens."""
    for _ in range(5):
        assert await setup.passes(setup.token())
    assert setup.server.requests == ["/keys"]


async def test_the_fetch_brings_nothing_along(setup: Setup) -> None:
    """No credentials, no cookies, no compression: nothing that an issuer could need or misuse."""
    headers = {name.lower() for name in setup.server.request_headers[0]}

    assert headers == {"host", "accept", "accept-encoding", "connection", "user-agent"}


@pytest.mark.parametrize("header", ["jku", "x5u"])
async def test_a_header_that_points_elsewhere_is_never_followed(setup: Setup, header: str) -> None:
    """Neither for a forged token nor for a good one: the address in it gets no request, nor does the issuer's."""
    attacker = SigningKey(key_id="attacker")
    async with serve_keys() as elsewhere:
        elsewhere.document = key_set(attacker.jwk())
        assert not await setup.passes(setup.token(attacker, {header: elsewhere.url}))
        assert not await setup.passes(setup.token(KEY, {header: elsewhere.url}))
        assert elsewhere.requests == []
    assert len(setup.server.requests) == 1


async def test_a_key_or_an_extension_in_the_header_makes_no_request(setup: Setup) -> None:
    """`jwk`, `x5c` and `crit` end the verification."""
    attacker = SigningKey(key_id="attacker")
    for headers in ({"jwk": attacker.jwk()}, {"x5c": ["AAAA"]}, {"crit": ["x"], "x": 1}):
        assert not await setup.passes(setup.token(attacker, headers))
        assert not await setup.passes(setup.token(KEY, headers))
    assert len(setup.server.requests) == 1


async def test_ten_thousand_random_key_ids_make_one_request(setup: Setup) -> None:
    """And good tokens pass all the while."""
    tokens = [setup.token(headers={"kid": f"random-{number}"}) for number in range(200)]
    for _ in range(50):
        verdicts = await asyncio.gather(*map(setup.passes, tokens))
        assert not any(verdicts)
        assert await setup.passes(setup.token())
    assert len(setup.server.requests) == 2


async def test_a_rotated_key_is_found_by_the_first_token_that_needs_it(setup: Setup) -> None:
    """The issuer signs with a new key before the next refresh: the caller waits for one fetch, and passes."""
    new = SigningKey(key_id="key-2")
    setup.server.document = key_set(KEY.jwk(), new.jwk())

    assert await setup.passes(setup.token(new))
    assert await setup.passes(setup.token())


async def test_the_issuer_down_for_an_hour(setup: Setup) -> None:
    """Known keys go on; a new key works within a minute of the issuer's return."""
    new = SigningKey(key_id="key-2")
    setup.server.status = 503
    for _ in range(60):
        setup.clock.advance(60)
        await setup.refresh()
        assert await setup.passes(setup.token())
        assert not await setup.passes(setup.token(new))
    assert setup.keys.problem is not None

    setup.server.status, setup.server.document = 200, key_set(KEY.jwk(), new.jwk())
    setup.clock.advance(60)
    await setup.refresh()
    assert await setup.passes(setup.token(new))
    assert setup.keys.problem is None


def _redirects(server: KeyServer) -> None:
    server.status, server.headers = 302, {"location": "/elsewhere"}


def _fails(server: KeyServer) -> None:
    server.status = 500


def _is_oversize(server: KeyServer) -> None:
    server.document = b" " * (MAX_DOCUMENT_BYTES + 1)


def _is_a_bomb(server: KeyServer) -> None:
    server.document, server.headers = gzip.compress(bytes(50_000_000)), {"content-encoding": "gzip"}


@pytest.mark.parametrize("spoil", [_redirects, _fails, _is_oversize, _is_a_bomb])
async def test_an_answer_that_is_not_plain_is_refused(
    server: KeyServer, session: aiohttp.ClientSession, spoil: Callable[[KeyServer], None]
) -> None:
    """Another status, a redirect (which is not followed), an endless or a compressed body."""
    spoil(server)
    with pytest.raises(FetchFailed):
        await fetch_from(session, server.url)()
    assert server.requests == ["/keys"]


async def test_a_silent_endpoint_ends_at_the_time_out(
    server: KeyServer, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's total time-out bounds a fetch."""
    server.hold = asyncio.Event()
    monkeypatch.setattr(session, "_timeout", aiohttp.ClientTimeout(total=0.05))
    with pytest.raises(TimeoutError):
        await fetch_from(session, server.url)()
    server.hold.set()


async def test_a_proxy_of_the_environment_is_not_used(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys come from where the configuration says."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    async with open_session() as session:
        assert await fetch_from(session, server.url)() == server.document


@pytest.mark.parametrize("url", ["http://issuer.example/keys", "ftp://localhost/keys", "file:///etc/passwd", "keys"])
async def test_keys_are_fetched_over_https_only(session: aiohttp.ClientSession, url: str) -> None:
    """Plain HTTP is for the loopback address."""
    with pytest.raises(ValueError, match="over https"):
        fetch_from(session, url)


async def test_the_issuers_certificate_is_verified(tmp_path: Path) -> None:
    """A key set from a server that the authorities do not vouch for is not taken; one that they do is."""
    authority, document = Authority(), key_set(KEY.jwk())
    certificate = authority.server()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "foreign.pem").write_bytes(Authority("foreign CA").pem)
    (tmp_path / "cert.pem").write_bytes(certificate.certificate + certificate.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert.pem")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(document) + document)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with listener:
        url = f"https://localhost:{listener.sockets[0].getsockname()[1]}/keys"
        async with open_session(tmp_path / "ca.pem") as session:
            assert await fetch_from(session, url)() == document
        for authorities in (tmp_path / "foreign.pem", None):
            async with open_session(authorities) as session:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await fetch_from(session, url)()
