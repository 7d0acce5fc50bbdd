"""How servers are verified that the gateway connects to: by one kind of context, which writes no keys anywhere."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from gateway.quota.link import link_to
from gateway.quota.store import StoreUnavailable
from gateway.tls import client_context
from tests.support.pki import Authority


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
    """Certificate and name, with TLS 1.2 at least."""
    context = client_context(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None
