"""A certificate authority for tests: certificates with any URIs, times and extensions that a test asks for."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True)
class Credentials:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A CA with a key of its own. `now` in seconds since 1970 is where validity starts to count.

    Without `key_usage` its certificate lacks that extension, as those of many companies do. `parent` signs it; without
    one it signs itself.
    """

    def __init__(
        self,
        name: str = "test CA",
        *,
        now: float | None = None,
        key_usage: bool = True,
        parent: Authority | None = None,
    ) -> None:
        self._now = datetime.now(UTC) if now is None else datetime.fromtimestamp(now, UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = parent or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(signer._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - timedelta(days=1))
            .not_valid_after(self._now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        )
        if key_usage:
            builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        self._certificate = builder.sign(signer._key, hashes.SHA256())

    def intermediate(self) -> Authority:
        """An authority below this one."""
        return Authority("intermediate CA", now=self._now.timestamp(), parent=self)

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def server(
        self,
        host: str = "localhost",
        *,
        valid_from: float = -60.0,
        valid_for: float = 3600.0,
        key: CertificateIssuerPrivateKeyTypes | None = None,
    ) -> Credentials:
        """A server's certificate for a host name, `localhost` and 127.0.0.1; times as those of `workload`."""
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys((host, "localhost"))]
        names.append(x509.IPAddress(ip_address("127.0.0.1")))
        return self.issue(names, valid_from=valid_from, valid_for=valid_for, key=key)

    def workload(self, *uris: str, valid_from: float = -60.0, valid_for: float = 3600.0) -> Credentials:
        """A client's certificate with these URI SANs, valid from and for so many seconds after the authority's now."""
        return self.issue([_uri(uri) for uri in uris], valid_from=valid_from, valid_for=valid_for)

    def issue(
        self,
        names: Sequence[x509.GeneralName],
        *,
        valid_from: float = -60.0,
        valid_for: float = 3600.0,
        authority: bool = False,
        signs_certificates: bool = False,
        key: CertificateIssuerPrivateKeyTypes | None = None,
    ) -> Credentials:
        """A certificate with any names and flags, also those that a good CA would not give."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "workload")]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now + timedelta(seconds=valid_from))
            .not_valid_after(self._now + timedelta(seconds=valid_for))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=signs_certificates), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]),
                critical=False,
            )
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credentials(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )


def client_context(folder: Path, authority: Authority, client: Credentials) -> ssl.SSLContext:
    """For a client with a certificate that speaks HTTP/2 by itself; writes the certificate into `folder`."""
    (folder / "client.pem").write_bytes(client.certificate + client.key)
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.load_cert_chain(folder / "client.pem")
    context.set_alpn_protocols(["h2"])
    return context


def _uri(uri: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(uri)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
