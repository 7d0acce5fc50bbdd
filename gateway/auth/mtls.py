"""Client certificates: from the certificate that the transport verified to a SPIFFE id.

The transport checks the chain, once a connection. What can change while the connection lives, the time, is checked
here on every call. Parsing is `cryptography`'s, once for each distinct certificate.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

from cryptography import x509

from gateway.auth.spiffe import SpiffeId, parse_spiffe_id
from gateway.clock import Clock
from gateway.errors import CredentialsInvalid

MAX_PEM_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """The caller's client certificate, whose chain the transport has verified: gRPC's `x509_pem_cert`."""

    pem: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Leaf:
    """What a call needs of a certificate; `spiffe_id` None if it carries no URI at all. Times in seconds since 1970."""

    spiffe_id: SpiffeId | None
    not_before: float
    not_after: float


class ClientCertificates:
    """Reads certificates and remembers the last `capacity` distinct ones by digest."""

    def __init__(self, *, clock: Clock, capacity: int = 1024) -> None:
        self._clock = clock
        self._capacity = capacity
        self._leaves: OrderedDict[bytes, _Leaf | None] = OrderedDict()

    def __len__(self) -> int:
        """Certificates that are remembered."""
        return len(self._leaves)

    def spiffe_id(self, peer: PeerCertificate) -> SpiffeId | None:
        """The id in a certificate that is valid now; None for one that carries no URI and so says nothing.

        Raises `CredentialsInvalid` for any other: expired, not yet valid, a CA's, with two URIs, or with one that is
        not a SPIFFE id.
        """
        digest = hashlib.sha256(peer.pem).digest()
        try:
            leaf = self._leaves[digest]
            self._leaves.move_to_end(digest)
        except KeyError:
            leaf = self._leaves[digest] = _read(peer.pem)
            if len(self._leaves) > self._capacity:
                self._leaves.popitem(last=False)
        if leaf is None or not leaf.not_before <= self._clock.now() <= leaf.not_after:
            raise CredentialsInvalid
        return leaf.spiffe_id


def _read(pem: bytes) -> _Leaf | None:
    """The certificate, or None if it cannot be read or does not conform to X.509-SVID (sections 2, 4 and 5.2)."""
    if len(pem) > MAX_PEM_BYTES:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        uris = _uris(certificate)
        signs = _may_sign_certificates(certificate)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None
    spiffe_id = parse_spiffe_id(uris[0]) if len(uris) == 1 else None
    if signs or (uris and spiffe_id is None):
        return None
    return _Leaf(spiffe_id, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp())


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
