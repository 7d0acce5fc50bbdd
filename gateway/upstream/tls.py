"""How the vendor's certificate is verified."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.tls import client_context


def verifying_context(ca_file: Path | None) -> ssl.SSLContext:
    """As `client_context`, for HTTP/1.1."""
    context = client_context(ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
