"""How the vendor's certificate is verified."""

from __future__ import annotations

import ssl
from pathlib import Path


def verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts `ca_file` alone, or the system's authorities. Raises `OSError` for an unusable file.

    Not made by `ssl.create_default_context`, nor by httpx's function of that name: both would write session keys to
    wherever the variable SSLKEYLOGFILE points.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
