"""Looks for secrets in every layer of an image, and in its settings and history.

    scan.py ARCHIVE        (`docker save`, `podman save` or `buildah push … docker-archive:…`)

A file that a later layer deletes is still in the layer before, so each is looked at by itself. Prints what was found,
never the secret, and exits with 1.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

MAX_BYTES = 64 * 1024 * 1024
# Files that have no business in an image whatever is in them.
NAMES = re.compile(
    r"(^|/)(\.git|\.ssh|\.aws|\.docker|\.kube|\.gnupg|\.netrc|\.pypirc|\.npmrc|\.env[^/]*|pip\.conf|id_(rsa|ecdsa|ed25519)"
    r"|[^/]+\.(key|p12|pfx|jks|kdbx))($|/)"
)
# What secrets look like. A key must have a body: libraries hold the first line alone, to write it.
PATTERNS = {
    "private key": rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+(?:[A-Za-z0-9+/=]{40,}\s+){2}",
    "token of FaceGate": rb"(?<![A-Za-z0-9_])(?:fg|facegate)_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])",
    "JSON Web Token": rb"(?<![A-Za-z0-9_])eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{20,}",
    "cloud access key": rb"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])",
    "forge token": rb"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{36}|glpat-[A-Za-z0-9_-]{20}|pypi-AgE[A-Za-z0-9_-]{50,})",
    "password in a URL": rb"(?:https?|rediss?|valkeys?)://[A-Za-z0-9._-]+:[^@\s/'\"<>{}%$*]{8,}@[a-z0-9.-]+\.[a-z]{2,}",
    "API secret": rb"(?i)x-df-api-secret['\"]?\s*[:=]\s*['\"]?[A-Za-z0-9+/_-]{16,}",
}
_ANY = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
# Examples in the documentation of libraries, which are in every copy of them.
EXAMPLES = {
    ("opentelemetry/semconv/", "password in a URL"),
    ("pydantic/networks.py", "password in a URL"),
    ("pydantic/__pycache__/networks", "password in a URL"),
    ("pyjwt-", "JSON Web Token"),
}


def findings(archive: Path) -> Iterator[str]:
    """A line for each secret, with its place."""
    with tarfile.open(archive) as image:
        names = image.getnames()
        manifest = json.load(_read(image, "manifest.json"))[0]
        yield from _in_bytes("settings and history", _read(image, manifest["Config"]).read())
        for number, layer in enumerate(manifest["Layers"]):
            assert layer in names
            with tarfile.open(fileobj=_read(image, layer)) as files:
                yield from _in_layer(number, files)


def _read(archive: tarfile.TarFile, name: str) -> tarfile.ExFileObject:
    opened = archive.extractfile(name)
    assert isinstance(opened, tarfile.ExFileObject)
    return opened


def _in_layer(number: int, files: tarfile.TarFile) -> Iterator[str]:
    for member in files:
        place = f"layer {number}: /{member.name}"
        if NAMES.search(member.name):
            yield f"{place}: a file of this name does not belong into an image"
        if member.isfile() and member.size <= MAX_BYTES:
            opened = files.extractfile(member)
            assert opened is not None
            yield from _in_bytes(place, opened.read())


def _in_bytes(place: str, content: bytes) -> Iterator[str]:
    for name, pattern in _ANY.items():
        for hit in pattern.finditer(content):
            if not any(f"/site-packages/{file}" in place and kind == name for file, kind in EXAMPLES):
                yield f"{place}: {name} at byte {hit.start()}"


def main(archive: Path) -> int:
    """Prints every finding; 1 if there are some."""
    found = list(findings(archive))
    for line in found:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(found)} secrets found\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
