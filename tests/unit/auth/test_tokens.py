"""Bearer tokens as strings."""

from __future__ import annotations

import hashlib

import pytest

from gateway.auth.tokens import MAX_TOKEN_LENGTH, bearer_token, new_token, token_digest
from gateway.errors import CredentialsInvalid


def test_new_tokens_are_fresh_and_hold_256_random_bits() -> None:
    """A token is its prefix and 32 random bytes in base64url: 43 characters."""
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {len("facegate_") + 43}
    assert all(bearer_token([f"Bearer {token}"]) == token for token in tokens)


def test_the_digest_is_the_sha256_of_the_whole_token() -> None:
    """What an operator gets from `sha256sum` is what the configuration holds."""
    assert token_digest("facegate_x").hex() == hashlib.sha256(b"facegate_x").hexdigest()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(scheme: str) -> None:
    """RFC 9110, 11.1."""
    assert bearer_token([f"{scheme}  token "]) == "token"


def test_no_metadata_is_no_token() -> None:
    """A call without the metadata key has no token, which is not an error here."""
    assert bearer_token([]) is None


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer a", "Bearer a"],
        ["Bearer a", ""],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Bearer    "],
        ["Basic a"],
        ["token"],
        ["Bearer\ta"],
        ["Bearer é"],
        ["Bearer \ud800"],
        ["Bearer " + "a" * (MAX_TOKEN_LENGTH + 1)],
    ],
)
def test_anything_but_one_bearer_token_is_refused(values: list[str]) -> None:
    """Two values, another scheme, an empty, oversize or non-ASCII token are all the same refusal."""
    with pytest.raises(CredentialsInvalid) as raised:
        bearer_token(values)

    assert str(raised.value) == CredentialsInvalid.default_message
