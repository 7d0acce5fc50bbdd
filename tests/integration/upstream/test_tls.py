"""Who the vendor is, is verified, and nothing of the session leaks."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from structlog.testing import capture_logs

from gateway.errors import UpstreamUnavailable
from gateway.model import Outcome
from tests.support.pki import Authority, Credentials
from tests.support.vendor import OK, Connection, Vendor, always
from tests.support.vendor_client import API_SECRET, client, query, trip


def server_context(credentials: Credentials, folder: Path) -> ssl.SSLContext:
    """A vendor's TLS settings."""
    file = folder / "vendor.pem"
    file.write_bytes(credentials.certificate + credentials.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture
def authority() -> Authority:
    """The authority that the client trusts."""
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> Path:
    """Its certificate."""
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.pem)
    return file


async def test_a_verified_vendor(authority: Authority, ca_file: Path, tmp_path: Path) -> None:
    """A certificate of the configured authority for the host is good, for small images and for 5 MB, on one connection."""
    tls = server_context(authority.server(), tmp_path)
    async with Vendor(always(OK), tls=tls) as vendor, client(vendor.base_url, ca_file=ca_file) as upstream:
        assert (await upstream.search(query(), trip())).outcome is Outcome.MATCHED
        assert (await upstream.search(query(b"\xff" * 5_242_880), trip())).outcome is Outcome.MATCHED
        assert vendor.accepted == 1
        assert len(vendor.received[1].fields()["file"]) == 5_242_880


@pytest.mark.parametrize("fault", ["another authority", "expired", "another host"])
async def test_a_vendor_that_cannot_be_verified(
    fault: str, authority: Authority, ca_file: Path, tmp_path: Path
) -> None:
    """An unverified peer gets no request; callers see an outage, operators an alert, and nobody the reason's text."""
    match fault:
        case "another authority":
            certificate = Authority("someone else").server()
        case "expired":
            certificate = authority.issue([x509.DNSName("localhost")], valid_from=-7200, valid_for=-3600)
        case _:
            certificate = authority.issue([x509.DNSName("other.example")])
    tls = server_context(certificate, tmp_path)
    async with Vendor(always(OK), tls=tls, host="localhost") as vendor:
        async with client(vendor.base_url, ca_file=ca_file) as upstream:
            with capture_logs() as logs:
                with pytest.raises(UpstreamUnavailable) as caught:
                    await upstream.search(query(), trip())
                with pytest.raises(UpstreamUnavailable):
                    await upstream.search(query(), trip())
        assert vendor.received == []
    assert caught.value.upstream_status == "tls_error"
    assert caught.value.__context__ is None
    assert [(line["event"], line["log_level"]) for line in logs] == [("upstream.tls_verification_failed", "error")]
    assert API_SECRET not in repr(logs)


async def test_the_system_s_authorities_are_the_default(authority: Authority, tmp_path: Path) -> None:
    """Without a file a private authority is not trusted: absent does not mean anyone."""
    tls = server_context(authority.server(), tmp_path)
    async with Vendor(always(OK), tls=tls) as vendor, client(vendor.base_url) as upstream:
        with pytest.raises(UpstreamUnavailable):
            await upstream.search(query(), trip())


async def test_a_vendor_without_tls(ca_file: Path) -> None:
    """A plaintext answer to a TLS hello is an outage, not a verification alert."""

    async def plaintext(connection: Connection) -> None:
        await connection.send(OK)
        await connection.until_gone()

    async with Vendor(plaintext) as vendor:
        secure = vendor.base_url.replace("http:", "https:")
        async with client(secure, ca_file=ca_file) as upstream:
            with pytest.raises(UpstreamUnavailable) as caught:
                await upstream.search(query(), trip())
    assert caught.value.upstream_status == "connect_error"


async def test_session_keys_are_not_written(
    authority: Authority, ca_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSLKEYLOGFILE, which whoever sets the environment could use to read every image, is not honoured."""
    keys = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    tls = server_context(authority.server(), tmp_path)
    async with Vendor(always(OK), tls=tls) as vendor, client(vendor.base_url, ca_file=ca_file) as upstream:
        await upstream.search(query(), trip())
    assert not keys.exists() or not keys.read_bytes()
