"""Bearer tokens as strings: taken from metadata, made, and turned into digests.

What a token proves is decided elsewhere. Nothing here keeps a token.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from gateway.errors import CredentialsInvalid

MAX_TOKEN_LENGTH = 8192
"""Characters; a ServiceAccount token has about 1,000."""

_SCHEME = "bearer "
_PREFIX = "facegate_"


def new_token() -> str:
    """A static token of 256 random bits; the prefix lets secret scanners know it."""
    return _PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> bytes:
    """SHA-256 of a token: 32 bytes. The configuration holds it in hexadecimal as `token_sha256`."""
    return hashlib.sha256(token.encode("ascii")).digest()


def bearer_token(authorization: Sequence[str]) -> str | None:
    """The token of a call's `authorization` values; None if the call has no such metadata.

    The scheme's case does not matter (RFC 9110, 11.1). Raises `CredentialsInvalid` for anything but exactly one bearer
    token of at most `MAX_TOKEN_LENGTH` ASCII characters.
    """
    if not authorization:
        return None
    value = authorization[0]
    if len(authorization) != 1 or value[: len(_SCHEME)].lower() != _SCHEME:
        raise CredentialsInvalid
    token = value[len(_SCHEME) :].strip(" ")
    if not token or len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        raise CredentialsInvalid
    return token
