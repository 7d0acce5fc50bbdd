"""Pages of a list (AIP-158): how many rows, and where the next page starts. Adds to the violations of a request."""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from gateway.rpc.codec.violations import Violations

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_DIGEST_BYTES = 8


def collect_page_size(page_size: int, violations: Violations) -> int:
    """Rows to return: 0 means the default, more than the most means the most."""
    if page_size < 0:
        violations.add("page_size", f"is {page_size}; it must be 0 to {MAX_PAGE_SIZE}")
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode_page_token(last: str, question: tuple[object, ...]) -> str:
    """A token for what follows `last`, good for the same question only."""
    return urlsafe_b64encode(_digest(question) + last.encode()).decode()


def collect_page_token(token: str, question: tuple[object, ...], violations: Violations) -> str:
    """The `last` of a token; "" for none."""
    if not token:
        return ""
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        if raw[:_DIGEST_BYTES] == _digest(question):
            return raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        pass
    violations.add("page_token", "is not the next_page_token of this very question: start without one")
    return ""


def _digest(question: tuple[object, ...]) -> bytes:
    return hashlib.sha256(repr(question).encode()).digest()[:_DIGEST_BYTES]
