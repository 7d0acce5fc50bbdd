"""Pages of a list (AIP-158): how many, and where the next one starts."""

from __future__ import annotations

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from gateway.errors import FieldViolation, InvalidRequest

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_DIGEST_BYTES = 8


def decode_page_size(page_size: int) -> int:
    """Rows to return: 0 means the default, more than the most means the most. Raises `InvalidRequest`."""
    if page_size < 0:
        raise InvalidRequest((FieldViolation("page_size", f"is {page_size}; it must be 0 to {MAX_PAGE_SIZE}"),))
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode_page_token(last: str, question: tuple[object, ...]) -> str:
    """A token for what follows `last`, good for the same question only."""
    return urlsafe_b64encode(_digest(question) + last.encode()).decode()


def decode_page_token(token: str, question: tuple[object, ...]) -> str:
    """The `last` of a token; "" for none. Raises `InvalidRequest` for one that is not of this question."""
    if not token:
        return ""
    try:
        raw = urlsafe_b64decode(token.encode("ascii"))
        if raw[:_DIGEST_BYTES] == _digest(question):
            return raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        pass
    raise InvalidRequest(
        (FieldViolation("page_token", "is not the next_page_token of this very question: start without one"),)
    )


def _digest(question: tuple[object, ...]) -> bytes:
    return hashlib.sha256(repr(question).encode()).digest()[:_DIGEST_BYTES]
