"""Which certificates and keys gRPC can serve, and its clients can use. Python's own libraries take more than that.

gRPC's core says nothing about material that it refuses while the server runs, and goes on with the old. So what is new is
looked at here first, and handed to it once on trial.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate
from cryptography.x509.oid import PublicKeyAlgorithmOID

_BOM = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_INSIDE_A_LINE = re.compile(rb"[^\n]-----BEGIN ")
_REMEDY = "issue the certificate for an ECDSA key (P-256 or P-384) or an RSA key"
_NAMES = {"secp521r1": "P-521", "ed25519": "Ed25519", "ed448": "Ed448"}


def text_fault(content: bytes) -> str | None:
    """Why gRPC would not find every PEM block of a file, with the remedy; None if it finds them."""
    if content.startswith(_BOM):
        return "begins with a byte order mark (BOM), behind which gRPC finds nothing: save it as text without one"
    if _INSIDE_A_LINE.search(content):
        return "has -----BEGIN inside of a line, where gRPC does not find it: let it begin a line"
    return None


def key_fault(certificate: Certificate) -> str | None:
    """Why clients could not use a server's certificate because of its key, with the remedy; None if they can.

    secp256k1 and RSA-PSS keys are refused by gRPC's server. Ed25519 and P-521 keys are served, but clients that are built
    on gRPC's core (Python, C++, Ruby, PHP) offer no signature algorithm for them, and every handshake fails.
    """
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        return f"is for an RSA-PSS key, which gRPC cannot serve: {_REMEDY}"
    key = certificate.public_key()
    if isinstance(key, EllipticCurvePublicKey):
        if isinstance(key.curve, SECP256R1 | SECP384R1):
            return None
        kind = key.curve.name
    elif isinstance(key, RSAPublicKey):
        return None
    else:
        kind = type(key).__name__.removesuffix("PublicKey").lower()
    return f"is for a key of the kind {_NAMES.get(kind, kind)}, which clients of gRPC cannot use: {_REMEDY}"


def is_served(configuration: grpc.ServerCertificateConfiguration, *, client_certificates: bool) -> bool:
    """Whether gRPC's core takes the material. It is handed to a server that never starts; takes about a millisecond."""
    credentials = grpc.dynamic_ssl_server_credentials(
        configuration,
        lambda: None,  # type: ignore[arg-type,return-value]  # None is gRPC's word for "unchanged"
        require_client_authentication=client_certificates,
    )
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        try:
            return _binds(lambda address: server.add_secure_port(address, credentials)) or not _binds(
                # Where the system has no such addresses, nothing can be said.
                server.add_insecure_port
            )
        finally:
            server.stop(None)


def _binds(add_port: Callable[[str], int]) -> bool:
    try:
        return add_port(f"unix-abstract:facegate-{secrets.token_hex(8)}") != 0
    except RuntimeError:
        return False
