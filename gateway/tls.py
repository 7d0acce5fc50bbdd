"""TLS contexts for connections that the gateway opens itself."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that verifies the server's name and certificate. Raises `OSError` for an unusable file.

    It trusts `ca_file` alone, or the system's authorities if `ca_file` is None.

    `ssl.create_default_context` would write the session keys to the file that the variable SSLKEYLOGFILE names. Whoever
    reads that file can decrypt recorded traffic, the password included. This context never writes them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
