"""The server's TLS material, which may change while the server runs.

gRPC asks for it at each new connection; established ones keep what they began with, up to their age limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

from gateway.clock import Clock
from gateway.files import read_file
from gateway.rpc.tls_material import is_served, key_fault, text_fault

# Far above a chain or a bundle of authorities.
MAX_FILE_BYTES = 1024 * 1024

GRPC_REFUSES = (
    "or its key, or the authorities of clients, are refused by gRPC: use PEM text with unencrypted ECDSA (P-256, P-384) "
    "or RSA keys; lines that gRPC's core writes to stderr say which"
)


class BadTlsMaterial(Exception):
    """Files that do not make a working certificate: which one, and why, with the remedy."""

    def __init__(self, file: Path, why: str) -> None:
        self.file = file
        self.why = why
        super().__init__(f"{file} {why}")


class ServerTls:
    """Certificate, key and client authorities from files. `reload` them once before use."""

    def __init__(self, cert_file: Path, key_file: Path, client_ca_file: Path | None, *, clock: Clock) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._client_ca_file = client_ca_file
        self._clock = clock
        self._loaded: grpc.ServerCertificateConfiguration | None = None
        self._taken: grpc.ServerCertificateConfiguration | None = None
        self._refused: tuple[bytes, ...] = ()
        self.client_authorities: bytes | None = None
        """What `client_ca_file` held when it was last loaded, PEM."""
        self.expiries: Mapping[str, float] = {}
        """When the certificates that are served end, in seconds since 1970: `server`, and `client_ca` (its first), if any."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files to watch."""
        return tuple(file for file in (self._cert_file, self._key_file, self._client_ca_file) if file is not None)

    def reload(self) -> None:
        """Reads the files, for connections from now on. Raises `BadTlsMaterial`, and then keeps what was there."""
        loaded, self.client_authorities, self.expiries = self._load()
        self._loaded = loaded

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow `reload`. With client authorities, every connection has to show a certificate."""
        assert self._loaded is not None, "reload() comes first"
        self._taken = self._loaded
        return grpc.dynamic_ssl_server_credentials(
            self._loaded,
            self._take_changed,  # type: ignore[arg-type]  # None is gRPC's word for "unchanged"; the stubs miss it
            require_client_authentication=self._client_ca_file is not None,
        )

    def _take_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What was loaded since gRPC asked last, or None.

        It asks at every handshake, on threads of its own, and what it is given replaces its state under the handshakes
        that are under way. The process crashed now and then when each was answered with the same material.
        """
        loaded = self._loaded
        if loaded is self._taken:
            return None
        self._taken = loaded
        return loaded

    def _load(self) -> tuple[grpc.ServerCertificateConfiguration, bytes | None, Mapping[str, float]]:
        key, chain = _read(self._key_file), _read(self._cert_file)
        try:
            certificates = load_pem_x509_certificates(chain)
        except ValueError:
            raise BadTlsMaterial(self._cert_file, "is not a PEM certificate chain") from None
        try:
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError):
            raise BadTlsMaterial(self._key_file, "is not an unencrypted PEM private key") from None
        spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if private.public_key().public_bytes(*spki) != certificates[0].public_key().public_bytes(*spki):
            raise BadTlsMaterial(self._key_file, f"is not the key of {self._cert_file}: replace both together")
        if (fault := key_fault(certificates[0])) is not None:
            raise BadTlsMaterial(self._cert_file, fault)
        self._require_valid(self._cert_file, certificates[:1])
        expiries = {"server": _end(certificates)}
        authorities = None
        if self._client_ca_file is not None:
            authorities = _read(self._client_ca_file)
            try:
                trusted = load_pem_x509_certificates(authorities)
            except ValueError:
                raise BadTlsMaterial(self._client_ca_file, "holds no PEM certificates") from None
            self._require_valid(self._client_ca_file, trusted)
            expiries["client_ca"] = _end(trusted)
        configuration = grpc.ssl_server_certificate_configuration([(key, chain)], authorities)
        self._require_served(configuration, key, chain, authorities or b"")
        return configuration, authorities, expiries

    def _require_served(self, configuration: grpc.ServerCertificateConfiguration, *content: bytes) -> None:
        """Raises `BadTlsMaterial` if gRPC would go on with the old material. At the start its listener finds that out."""
        if self._taken is None:
            return
        if content == self._refused or not is_served(configuration, client_certificates=bool(content[-1])):
            # Remembered, since gRPC writes lines of its own at each trial and the watcher looks every 2 s.
            self._refused = content
            raise BadTlsMaterial(self._cert_file, GRPC_REFUSES)

    def _require_valid(self, file: Path, certificates: Sequence[Certificate]) -> None:
        """Raises `BadTlsMaterial` if none of them is valid now, and so no handshake would succeed.

        At the start there is nothing better in force, and the gateway serves with what it has.
        """
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        if self._loaded is not None and not any(
            certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc for certificate in certificates
        ):
            raise BadTlsMaterial(file, "has expired or is not valid yet: put a certificate in it that is valid now")


def _end(certificates: Sequence[Certificate]) -> float:
    return certificates[0].not_valid_after_utc.timestamp()


def _read(file: Path) -> bytes:
    try:
        content = read_file(file, MAX_FILE_BYTES)
    except OSError as error:
        raise BadTlsMaterial(file, f"cannot be read ({error.strerror or error})") from None
    if (fault := text_fault(content)) is not None:
        raise BadTlsMaterial(file, fault)
    return content
