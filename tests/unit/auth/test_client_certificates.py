"""Client certificates, real ones, read for their SPIFFE id under an injected clock."""

from __future__ import annotations

import pytest
from cryptography import x509

from gateway.auth.mtls import ClientCertificates, PeerCertificate
from gateway.errors import CredentialsInvalid
from tests.support.clock import ManualClock
from tests.support.pki import Authority

API = "spiffe://corp.example/ns/kyc/sa/api"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority(clock: ManualClock) -> Authority:
    return Authority(now=clock.now())


@pytest.fixture
def certificates(clock: ManualClock) -> ClientCertificates:
    return ClientCertificates(clock=clock, capacity=4)


def test_exactly_one_spiffe_uri_is_the_id(authority: Authority, certificates: ClientCertificates) -> None:
    """Names of other kinds beside the URI do not count."""
    plain = authority.workload(API)
    named = authority.issue([x509.DNSName("api.kyc"), x509.UniformResourceIdentifier(API)])

    for credentials in (plain, named):
        found = certificates.read(PeerCertificate(credentials.certificate)).spiffe_id
        assert found is not None
        assert found.uri == API


def test_a_certificate_without_uris_says_nothing(authority: Authority, certificates: ClientCertificates) -> None:
    """It is no identity and no contradiction either."""
    for credentials in (authority.issue([]), authority.issue([x509.DNSName(API)])):
        assert certificates.read(PeerCertificate(credentials.certificate)).spiffe_id is None


@pytest.mark.parametrize(
    "uris",
    [
        (API, API),
        (API, "spiffe://corp.example/ns/other/sa/api"),
        (API, "https://corp.example"),
        ("https://corp.example/api",),
        ("spiffe://corp.example/ns/../kyc",),
        ("spiffe://corp.example/ns/%2e%2e/kyc",),
        ("spiffe://Corp.Example/ns/kyc",),
        ("SPIFFE://corp.example/ns/kyc",),
        ("spiffe://corp.example",),
    ],
)
def test_two_uris_or_one_that_is_no_id_are_refused(
    authority: Authority, certificates: ClientCertificates, uris: tuple[str, ...]
) -> None:
    """gRPC lets such certificates pass."""
    with pytest.raises(CredentialsInvalid):
        certificates.read(PeerCertificate(authority.workload(*uris).certificate))


def test_a_certificate_that_may_sign_others_identifies_nobody(
    authority: Authority, certificates: ClientCertificates
) -> None:
    """X.509-SVID 5.2: a leaf is no CA and may not sign certificates."""
    uri = x509.UniformResourceIdentifier(API)
    for credentials in (
        authority.issue([uri], authority=True),
        authority.issue([uri], signs_certificates=True),
    ):
        with pytest.raises(CredentialsInvalid):
            certificates.read(PeerCertificate(credentials.certificate))


def test_a_certificate_dies_at_its_end_on_an_open_connection(
    authority: Authority, certificates: ClientCertificates, clock: ManualClock
) -> None:
    """The handshake was long ago, and the certificate is remembered: its end counts on every call all the same."""
    peer = PeerCertificate(authority.workload(API, valid_for=3600).certificate)
    assert certificates.read(peer).spiffe_id is not None

    clock.advance(3599)
    assert certificates.read(peer).spiffe_id is not None
    clock.advance(2)
    with pytest.raises(CredentialsInvalid):
        certificates.read(peer)


def test_a_certificate_does_not_count_before_its_start(
    authority: Authority, certificates: ClientCertificates, clock: ManualClock
) -> None:
    """Also when it was first seen too early."""
    peer = PeerCertificate(authority.workload(API, valid_from=100).certificate)
    with pytest.raises(CredentialsInvalid):
        certificates.read(peer)

    clock.advance(101)
    assert certificates.read(peer).spiffe_id is not None


@pytest.mark.parametrize("pem", [b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_cannot_be_parsed_is_refused(certificates: ClientCertificates, pem: bytes) -> None:
    """Junk in place of a certificate is bad credentials, not an error of the gateway."""
    with pytest.raises(CredentialsInvalid):
        certificates.read(PeerCertificate(pem))


def test_what_is_remembered_is_bounded(authority: Authority, certificates: ClientCertificates) -> None:
    """Certificates beyond the capacity displace the ones seen longest ago."""
    for number in range(10):
        certificates.read(PeerCertificate(authority.workload(f"{API}-{number}").certificate))

    assert len(certificates) == 4
