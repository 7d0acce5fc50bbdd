"""The system's certificate authorities, as PEM for gRPC, which would otherwise take a list of its own."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

# Where systems keep theirs, for a Python that was built elsewhere and looks in another place.
_USUAL_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/opt/homebrew/etc/ca-certificates/cert.pem",
)


def system_authorities() -> bytes | None:
    """PEM of the system's authorities, those of SSL_CERT_FILE or SSL_CERT_DIR if set; None if there are none to read."""
    # Either is None where it does not exist, whatever the stubs say.
    paths: Any = ssl.get_default_verify_paths()
    for file in (paths.cafile, *_USUAL_FILES):
        if file is not None and (content := _read(Path(file))):
            return content
    folder = Path(paths.capath) if paths.capath is not None else None
    if folder is None or not folder.is_dir():
        return None
    return b"\n".join(_read(file) for file in sorted(folder.iterdir()) if file.suffix in (".pem", ".crt")) or None


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError:
        return b""
    return content if b"-----BEGIN CERTIFICATE-----" in content else b""
