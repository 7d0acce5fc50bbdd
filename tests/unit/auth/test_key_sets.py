"""Key sets: which members of a document may verify a token, and with which algorithm."""

from __future__ import annotations

import json

import pytest

from gateway.auth.jwks import MAX_DOCUMENT_BYTES, KeySetInvalid, parse_key_set
from tests.support.oidc import SigningKey, encode, key_set

RSA = SigningKey("RS256", "rsa")
EC = SigningKey("ES256", "ec")
ED = SigningKey("EdDSA", "ed")


def test_each_key_is_bound_to_the_algorithm_of_its_type() -> None:
    """A key answers under its own algorithm only, whatever the token's header says."""
    keys = parse_key_set(key_set(RSA.jwk(), EC.jwk(), ED.jwk()))

    assert len(keys) == 3
    for key in (RSA, EC, ED):
        assert key.key_id is not None
        found = keys.find(key.key_id, key.algorithm)
        assert found is not None
        assert found.algorithm_name == key.algorithm
        for other in {"RS256", "ES256", "EdDSA", "HS256", "none"} - {key.algorithm}:
            assert keys.find(key.key_id, other) is None


def test_a_key_without_the_optional_members_is_usable() -> None:
    """`alg`, `use` and `kid` are optional (RFC 7517, 4)."""
    assert len(parse_key_set(key_set(EC.jwk(alg=None, use=None, kid=None)))) == 1


def test_a_token_without_a_key_id_needs_a_single_key() -> None:
    """With several keys of an algorithm the id decides, and nothing is tried out."""
    assert parse_key_set(key_set(EC.jwk(), RSA.jwk())).find(None, "ES256") is not None
    assert parse_key_set(key_set(EC.jwk(), SigningKey("ES256", "ec-2").jwk())).find(None, "ES256") is None


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    """A later member cannot take an earlier one's place."""
    first = SigningKey("ES256", "same")
    keys = parse_key_set(key_set(first.jwk(), SigningKey("ES256", "same").jwk()))
    found = keys.find("same", "ES256")

    assert found is not None
    assert found.key.public_numbers() == first.private.public_key().public_numbers()  # type: ignore[union-attr]


UNUSABLE = {
    "a symmetric key": {"kty": "oct", "k": encode(b"x" * 32), "kid": "x"},
    "a small RSA key": SigningKey("RS256", "x", rsa_bits=1024).jwk(),
    "another algorithm": RSA.jwk(alg="RS512"),
    "HMAC on a public key": RSA.jwk(alg="HS256"),
    "an encryption key": RSA.jwk(use="enc"),
    "other operations": EC.jwk(key_ops=["encrypt"]),
    "operations of a wrong type": EC.jwk(key_ops="verify"),
    "a private key": EC.private_jwk(),
    "another curve": EC.jwk(crv="P-384"),
    "a point off the curve": EC.jwk(x=encode(b"\x01" * 32)),
    "missing numbers": {"kty": "EC", "crv": "P-256", "kid": "x"},
    "numbers of a wrong type": RSA.jwk(n=5),
    "a key id of a wrong type": EC.jwk(kid=["x"]),
    "a type of a wrong type": {"kty": ["RSA"]},
    "no object": "key",
}


@pytest.mark.parametrize("member", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_members_are_left_out(member: dict[str, object]) -> None:
    """One odd member does not spoil the set; a set of odd members alone is refused."""
    assert len(parse_key_set(json.dumps({"keys": [member, ED.jwk()]}).encode())) == 1
    with pytest.raises(KeySetInvalid):
        parse_key_set(json.dumps({"keys": [member]}).encode())


@pytest.mark.parametrize(
    "document",
    [b"", b"null", b"[]", b"{}", b'{"keys": {}}', b'{"keys": []}', b"\xff", b"[" * 100_000, b" " * MAX_DOCUMENT_BYTES],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    """Junk is refused with a constant text."""
    with pytest.raises(KeySetInvalid):
        parse_key_set(document)


def test_an_oversize_document_is_refused_unparsed() -> None:
    """The limit holds for files too."""
    document = key_set(EC.jwk())
    with pytest.raises(KeySetInvalid, match="larger than 262144 bytes"):
        parse_key_set(document + b" " * MAX_DOCUMENT_BYTES)


@pytest.mark.parametrize("kind", [{"use": None, "alg": None, "key_ops": None}, {"use": "jwt-svid"}])
def test_a_key_as_real_issuers_write_it_is_usable(kind: dict[str, str | None]) -> None:
    """Members that are null, and what SPIRE writes for the keys of its tokens."""
    for key in (EC, RSA):
        assert len(parse_key_set(key_set(key.jwk() | kind))) == 1


def test_a_key_of_certificates_is_left_out() -> None:
    """SPIRE's bundle also holds the authorities of its certificates: they sign no tokens."""
    with pytest.raises(KeySetInvalid):
        parse_key_set(key_set(EC.jwk() | {"use": "x509-svid"}))
