"""SPIFFE ids as the SPIFFE-ID standard (section 2) defines them, read exactly.

No normalising and no URI library: whatever is not spelt as the standard says is not an id, so no two spellings can
mean the same workload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LENGTH = 2048

_FORM = re.compile(r"spiffe://(?P<domain>[a-z0-9._-]{1,255})(?P<path>(?:/[A-Za-z0-9._-]+)+)")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A workload's id: the whole URI and its trust domain."""

    uri: str
    trust_domain: str


def parse_spiffe_id(uri: str) -> SpiffeId | None:
    """The id, or None.

    Lower-case scheme and trust domain, a path of at least one segment, no segment empty, `.` or `..`, no percent
    encoding, user, port, query or fragment, at most 2048 bytes.
    """
    if len(uri) > MAX_LENGTH:
        return None
    found = _FORM.fullmatch(uri)
    if found is None or not {".", ".."}.isdisjoint(found["path"].split("/")):
        return None
    return SpiffeId(uri, found["domain"])
