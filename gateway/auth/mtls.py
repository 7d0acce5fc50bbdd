"""Client certificates: from the certificate that the transport verified to a SPIFFE id.

The transport checks the chain, once a connection. What can change while the connection lives, the time, is checked
here on every call. Parsing is `cryptography`'s, once for each distinct certificate.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from gateway.auth.spiffe import SpiffeId, parse_spiffe_id
from gateway.clock import Clock
from gateway.errors import CredentialsInvalid

MAX_PEM_BYTES = 65_536
MAX_INTERMEDIATES = 8


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The caller's client certificate, whose chain the transport has verified: gRPC's `x509_pem_cert`.

    `chain` is what the caller sent with it: gRPC's `x509_pem_cert_chain`.
    """

    pem: bytes = field(repr=False)
    chain: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What a call needs of a certificate; `spiffe_id` None if it carries no URI at all. Times in seconds since 1970."""

    spiffe_id: SpiffeId | None
    not_before: float
    not_after: float


class ClientCertificates:
    """Reads certificates and remembers the last `capacity` distinct ones by digest."""

    def __init__(self, *, clock: Clock, capacity: int = 1024) -> None:
        self._clock = clock
        self._capacity = capacity
        self._read: OrderedDict[bytes, ClientCertificate | None] = OrderedDict()
        self._authorities: list[x509.Certificate] | None = None

    def __len__(self) -> int:
        """Certificates that are remembered."""
        return len(self._read)

    def trust(self, authorities: bytes) -> None:
        """From now on a certificate must lead to one of `authorities` (PEM), whatever the transport found.

        For when the authorities have changed: a connection that is open was verified by the former ones. Raises
        `ValueError` if there is no certificate in it.
        """
        self._authorities = x509.load_pem_x509_certificates(authorities)
        self._read.clear()

    def read(self, peer: PeerCertificate) -> ClientCertificate:
        """A certificate that is valid now; its id is None if it carries no URI and so says nothing.

        Raises `CredentialsInvalid` for any other: expired, not yet valid, of an authority that is no longer trusted, a
        CA's, with two URIs, or with one that is not a SPIFFE id.
        """
        digest = hashlib.sha256(peer.pem).digest()
        try:
            found = self._read[digest]
            self._read.move_to_end(digest)
        except KeyError:
            found = self._read[digest] = _read(peer, self._authorities)
            if len(self._read) > self._capacity:
                self._read.popitem(last=False)
        if found is None or not found.not_before <= self._clock.now() <= found.not_after:
            raise CredentialsInvalid
        return found


def _read(peer: PeerCertificate, authorities: list[x509.Certificate] | None) -> ClientCertificate | None:
    """The certificate; None if it is unreadable, not trusted, or breaks X.509-SVID (sections 2, 4 and 5.2)."""
    if len(peer.pem) + len(peer.chain) > MAX_PEM_BYTES:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(peer.pem)
        uris = _uris(certificate)
        signs = _may_sign_certificates(certificate)
        trusted = authorities is None or _leads_to(authorities, certificate, peer.chain)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None
    spiffe_id = parse_spiffe_id(uris[0]) if len(uris) == 1 else None
    if not trusted or signs or (uris and spiffe_id is None):
        return None
    return ClientCertificate(
        spiffe_id, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    )


def _leads_to(authorities: list[x509.Certificate], certificate: x509.Certificate, chain: bytes) -> bool:
    """Whether one of `authorities` has signed the certificate, over at most `MAX_INTERMEDIATES` of its chain."""
    intermediates = x509.load_pem_x509_certificates(chain) if chain else []
    intermediates = [found for found in intermediates[: MAX_INTERMEDIATES + 1] if _may_sign_certificates(found)]
    for _ in range(MAX_INTERMEDIATES + 1):
        if any(certificate == authority or _is_signed_by(certificate, authority) for authority in authorities):
            return True
        issuer = next((found for found in intermediates if _is_signed_by(certificate, found)), None)
        if issuer is None:
            return False
        intermediates.remove(issuer)
        certificate = issuer
    return False


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _may_sign_certificates(certificate: x509.Certificate) -> bool:
    """Whether it is a CA's: those hold names for others and identify nobody."""
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return True
    except x509.ExtensionNotFound:
        pass
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return usage.key_cert_sign or usage.crl_sign
