"""How servers are verified that the gateway connects to: by one kind of context, which writes no keys anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from gateway.quota.link import link_to
from gateway.quota.store import StoreUnavailable
from gateway.tls import client_context
from tests.support.pki import Authority
from tests.support.tools import ROOT


async def test_no_session_keys_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSLKEYLOGFILE is followed by `ssl.create_default_context`: with the keys, an AUTH can be read from the wire."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    authority = Authority()
    certificate = authority.server()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "cert.pem").write_bytes(certificate.certificate + certificate.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem")
    served = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"PING\r\n"):
            served.append(writer.get_extra_info("cipher"))
            writer.write(b"+PONG\r\n")

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        url = f"valkeys://localhost:{server.sockets[0].getsockname()[1]}/0"
        link = link_to(url, tls=client_context(tmp_path / "ca.pem"))
        await link.warm(5.0)
        assert served
        link.disconnect()
        stranger = link_to(url)
        with pytest.raises(StoreUnavailable):
            await stranger.warm(5.0)
        stranger.disconnect()
    assert not keys.exists()


@pytest.mark.parametrize("content", [b"", b"no certificate\n"])
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: bytes) -> None:
    """At the start, where it can be mended."""
    (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(OSError):  # noqa: PT011 - of whichever kind
        client_context(tmp_path / "ca.pem")
    with pytest.raises(OSError):  # noqa: PT011 - of whichever kind
        client_context(tmp_path / "absent.pem")


def test_servers_are_verified() -> None:
    """Certificate and name, with TLS 1.2 at least, by the same rules with every Python."""
    context = client_context(None)
    flags = ssl.VerifyFlags
    assert context.verify_flags == flags.VERIFY_X509_TRUSTED_FIRST | flags.VERIFY_X509_PARTIAL_CHAIN
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """A handshake in memory. Raises what the client raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    calling = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (calling, answering):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    assert calling.version() is not None


@pytest.mark.parametrize("kind", ["root without keyUsage", "intermediate alone", "a stranger's"])
def test_authorities_as_companies_have_them(kind: str, tmp_path: Path) -> None:
    """Python 3.13's own context refuses an authority without keyUsage; ours takes it for vendor, stores and issuers."""
    authority = Authority(key_usage=kind != "root without keyUsage")
    issuer = authority.intermediate() if kind == "intermediate alone" else authority
    server = issuer.server("store.corp.example")
    trusted = Authority("another") if kind == "a stranger's" else issuer
    (tmp_path / "ca.pem").write_bytes(trusted.pem)
    (tmp_path / "server.pem").write_bytes(server.certificate + server.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "server.pem")
    client = client_context(tmp_path / "ca.pem")
    if kind == "a stranger's":
        with pytest.raises(ssl.SSLCertVerificationError):
            _shake_hands(client, serving, "store.corp.example")
    else:
        _shake_hands(client, serving, "store.corp.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            _shake_hands(client, serving, "other.corp.example")


def test_nothing_else_makes_a_client_s_context() -> None:
    """One place decides how servers are verified. The command line looks at a server that it did not reach."""
    makers = ("PROTOCOL_TLS_CLIENT", "create_default_context(", "_create_unverified_context")
    found = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "gateway").rglob("*.py")
        if any(maker in file.read_text("utf-8") for maker in makers)
    }
    assert found == {"gateway/tls.py", "gateway/cli/diagnosis.py"}
