"""Why a gateway cannot be reached, against real listeners: the sentence names the option that mends it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from gateway.cli.diagnosis import diagnose
from gateway.cli.options import Target, Tls
from tests.support.command import facegate
from tests.support.face_search_servicer import fake_gateway
from tests.support.pki import Authority, Credentials

ROOT = Authority()
STRANGER = Authority("another CA")
SERVER = ROOT.server()
WORKLOAD = ROOT.workload("spiffe://corp.example/api")
TLS = grpc.ssl_server_credentials([(SERVER.key, SERVER.certificate)])
MUTUAL = grpc.ssl_server_credentials([(SERVER.key, SERVER.certificate)], ROOT.pem, require_client_auth=True)


def shown(pair: Credentials, folder: Path) -> Tls:
    """TLS with a client certificate, whose files are in `folder`."""
    files = (folder / "cert.pem", folder / "key.pem")
    for file, content in zip(files, (pair.certificate, pair.key), strict=True):
        file.write_bytes(content)
    return Tls(ROOT.pem, pair.certificate, pair.key, files)


async def why(address: str, tls: Tls | None) -> str:
    """What is found at `address`."""
    return await asyncio.to_thread(diagnose, Target(address, None, tls))


async def test_tls_is_met_in_plaintext() -> None:
    """And the reverse; a gateway that speaks what is spoken to it is in order."""
    async with fake_gateway() as (_, plain), fake_gateway(credentials=TLS) as (_, secure):
        assert await why(secure, None) == f"{secure} speaks TLS and the call was plaintext: add --tls, or --tls-ca FILE"
        assert await why(plain, Tls(ROOT.pem)) == f"{plain} does not speak TLS: call it without --tls and --tls-ca"
        assert await why(plain, None) == ""
        assert await why(secure, Tls(ROOT.pem)) == ""


async def test_a_certificate_that_is_not_trusted() -> None:
    """Of unknown authorities, or for another name; the name that was called is said."""
    other = ROOT.issue([x509.DNSName("gateway.example")])
    elsewhere = grpc.ssl_server_credentials([(other.key, other.certificate)])
    async with fake_gateway(credentials=TLS) as (_, secure), fake_gateway(credentials=elsewhere) as (_, renamed):
        untrusted = await why(secure, Tls(STRANGER.pem))
        assert untrusted.startswith(f"the certificate of {secure} is not trusted (")
        assert untrusted.endswith("): name its authorities by --tls-ca FILE")
        assert await why(renamed, Tls(ROOT.pem)) == (
            f"the certificate of {renamed} is for another name than 127.0.0.1: call it by a name in it"
        )


async def test_a_client_certificate_that_is_wanted(tmp_path: Path) -> None:
    """None, one of another CA, and the right one."""
    async with fake_gateway(credentials=MUTUAL) as (_, address):
        assert await why(address, Tls(ROOT.pem)) == (
            f"{address} wants a client certificate: add --client-cert and --client-key"
        )
        assert await why(address, shown(STRANGER.workload("spiffe://a/b"), tmp_path)) == (
            f"{address} does not take the client certificate: check who signed --client-cert"
        )
        assert await why(address, shown(WORKLOAD, tmp_path)) == ""


async def test_nobody_is_there() -> None:
    """A port that is free, one that takes connections and says nothing, and a name that does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        assert await why(mute, None) == ""
    assert await why(mute, None) == f"nothing listens at {mute}: is the gateway running there?"
    assert await why("no-such-host.invalid:1", None) == "the name no-such-host.invalid cannot be resolved"


async def test_nothing_is_said_of_a_call_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC follows these variables; what is met without the proxy is no cause."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert await why("no-such-host.invalid:1", None) == ""
    assert await why("127.0.0.1:1", None) == "nothing listens at 127.0.0.1:1: is the gateway running there?"


async def test_the_sentence_is_what_a_command_says() -> None:
    """In the place of gRPC's own text."""
    async with fake_gateway(credentials=TLS) as (_, address):
        result = await facegate("quota", "--target", address)
    assert result.status == 1
    assert result.err == (
        f"facegate: UNAVAILABLE: {address} speaks TLS and the call was plaintext: add --tls, or --tls-ca FILE\n"
    )


@pytest.mark.parametrize("how", ["options", "variables"])
async def test_a_caller_with_everything(how: str, tmp_path: Path) -> None:
    """The system's authorities, a client certificate, and a token: by option or by variable."""
    given = shown(WORKLOAD, tmp_path)
    assert given.pair is not None
    (tmp_path / "system.pem").write_bytes(ROOT.pem)
    (tmp_path / "token").write_text("fg_hunter2\n")
    (tmp_path / "token").chmod(0o600)
    environ = {"SSL_CERT_FILE": str(tmp_path / "system.pem")}
    files = [str(file) for file in (*given.pair, tmp_path / "token")]
    options: list[str] = []
    if how == "options":
        options = ["--tls", "--client-cert", files[0], "--client-key", files[1], "--token-file", files[2]]
    else:
        environ |= {"FACEGATE_TLS": "true"}
        environ |= dict(zip(("FACEGATE_CLIENT_CERT", "FACEGATE_CLIENT_KEY", "FACEGATE_TOKEN_FILE"), files, strict=True))
    async with fake_gateway(credentials=MUTUAL) as (fake, address):
        result = await facegate("quota", "--target", address, *options, environ=environ)
    assert (result.status, result.err) == (0, "")
    assert fake.tokens == ["Bearer fg_hunter2"]
