"""The client's side of TLS, from the files that a test wrote."""

from __future__ import annotations

import ssl
from typing import Any


def context(options: dict[str, Any]) -> ssl.SSLContext | None:
    """A context that shows the certificate in `options["tls"]`, HTTP/2 only; None where the attack is in plaintext."""
    files = options.get("tls")
    if files is None:
        return None
    made = ssl.create_default_context(cafile=files["ca"])
    made.check_hostname = False
    made.load_cert_chain(files["client"])
    made.set_alpn_protocols(["h2"])
    return made
