"""The one maker of TLS contexts for connections that the gateway opens itself: to the vendor, stores, issuers and proxy."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path


def client_context(ca_file: Path | None, *, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """A context that verifies the server's name and certificate. Raises `OSError` for an unusable file.

    It trusts `ca_file` alone, or the system's authorities if `ca_file` is None. `alpn` are the protocols to offer.

    `ssl.create_default_context` would write the session keys to the file that the variable SSLKEYLOGFILE names. Whoever
    reads that file can decrypt recorded traffic, the password included. This context never writes them. It would also
    verify by other rules from Python 3.13 on; here they are the same with every Python.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Not VERIFY_X509_STRICT: it refuses authorities without the extension keyUsage, as many companies have them. With a
    # partial chain an intermediate authority in the file is enough, as it is for Go and curl.
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=ca_file)
    return context
