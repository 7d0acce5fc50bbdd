"""Which JWTs pass, with real keys and an injected clock."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt import PyJWK

from gateway.auth.jwt import LEEWAY_SECONDS, Issuer, JwtVerifier
from gateway.auth.key_sources import FileKeys
from gateway.errors import CredentialsInvalid
from tests.support.clock import ManualClock
from tests.support.oidc import SigningKey, encode, key_set, segment

ISSUER = "https://issuer.example"
AUDIENCE = "facegate"
SUBJECT = "system:serviceaccount:kyc:api"
CLOCK = ManualClock()
NOW = CLOCK.now()
KEY = SigningKey("ES256", "key-1")
RSA = SigningKey("RS256", "rsa")
ED = SigningKey("EdDSA", "ed")
FOREIGN = SigningKey("ES256", "key-1")


class CountingKeys(FileKeys):
    """Keys that count how often a token made them look again."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_again = 0

    async def find_fresh(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        self.looked_again += 1
        return await super().find_fresh(key_id, algorithm)


@pytest.fixture
def keys() -> CountingKeys:
    keys = CountingKeys()
    keys.load(key_set(KEY.jwk(), RSA.jwk(), ED.jwk()))
    return keys


@pytest.fixture
def verifier(keys: CountingKeys) -> JwtVerifier:
    return JwtVerifier([Issuer(ISSUER, AUDIENCE, keys)], clock=CLOCK)


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims; a change of None leaves one out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "exp": NOW + 600, "iat": NOW, "nbf": NOW} | changes
    return {name: value for name, value in good.items() if value is not None}


async def refused(verifier: JwtVerifier, token: str) -> None:
    with pytest.raises(CredentialsInvalid) as raised:
        await verifier.verify(token)
    assert str(raised.value) == CredentialsInvalid.default_message
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("key", [KEY, RSA, ED], ids=lambda key: key.algorithm)
async def test_a_good_token_names_its_subject(verifier: JwtVerifier, key: SigningKey) -> None:
    """RS256, ES256 and EdDSA are taken, each with a key of its type."""
    verified = await verifier.verify(key.sign(claims()))

    assert (verified.issuer, verified.subject, verified.expires_at) == (ISSUER, SUBJECT, NOW + 600)


async def test_a_service_account_token_passes(verifier: JwtVerifier) -> None:
    """Kubernetes writes a list of one audience, no `typ`, and claims of its own."""
    body = claims(aud=[AUDIENCE], **{"kubernetes.io": {"namespace": "kyc"}}, jti="a")

    assert (await verifier.verify(RSA.sign(body, {"typ": None}))).subject == SUBJECT


GOOD = {
    "expired within the leeway": claims(exp=NOW - LEEWAY_SECONDS + 1),
    "not before, within the leeway": claims(nbf=NOW + LEEWAY_SECONDS),
    "issued within the leeway": claims(iat=NOW + LEEWAY_SECONDS),
    "neither nbf nor iat": claims(nbf=None, iat=None),
    "fractions of a second": claims(exp=NOW + 0.5),
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD.keys())
async def test_clocks_may_differ_by_the_leeway(verifier: JwtVerifier, body: dict[str, Any]) -> None:
    """30 s either way."""
    assert (await verifier.verify(KEY.sign(body))).subject == SUBJECT


BAD_CLAIMS = {
    "expired": claims(exp=NOW - LEEWAY_SECONDS),
    "no exp": claims(exp=None),
    "exp as text": claims(exp=str(int(NOW + 600))),
    "exp as true": claims(exp=True),
    "exp as a list": claims(exp=[NOW + 600]),
    "exp infinite": claims(exp=float("inf")),
    "exp not a number": claims(exp=float("nan")),
    "nbf ahead": claims(nbf=NOW + LEEWAY_SECONDS + 1),
    "nbf as text": claims(nbf=str(NOW)),
    "iat ahead": claims(iat=NOW + LEEWAY_SECONDS + 1),
    "iat as text": claims(iat="0"),
    "no audience": claims(aud=None),
    "another audience": claims(aud="other"),
    "an audience that contains ours": claims(aud="facegate-other"),
    "an audience in another case": claims(aud="FaceGate"),
    "an empty list of audiences": claims(aud=[]),
    "ours among other audiences": claims(aud=[AUDIENCE, "other"]),
    "ours twice": claims(aud=[AUDIENCE, AUDIENCE]),
    "a nested list of audiences": claims(aud=[[AUDIENCE]]),
    "an object as audience": claims(aud={AUDIENCE: 1}),
    "no issuer": claims(iss=None),
    "another issuer": claims(iss="https://other.example"),
    "an issuer with a slash more": claims(iss=ISSUER + "/"),
    "a list as issuer": claims(iss=[ISSUER]),
    "an object as issuer": claims(iss={"a": ISSUER}),
    "no subject": claims(sub=None),
    "an empty subject": claims(sub=""),
    "a list as subject": claims(sub=[SUBJECT]),
    "a list as claims": [claims()],
    "text as claims": "claims",
}


@pytest.mark.parametrize("body", BAD_CLAIMS.values(), ids=BAD_CLAIMS.keys())
async def test_a_good_signature_does_not_excuse_bad_claims(verifier: JwtVerifier, body: Any) -> None:
    """Times, audience, issuer and subject are required and of their types; lists are no way around."""
    await refused(verifier, KEY.sign(body))


BAD_HEADERS: dict[str, dict[str, Any]] = {
    "jku": {"jku": "https://attacker.example/keys"},
    "x5u": {"x5u": "https://attacker.example/cert"},
    "jwk": {"jwk": FOREIGN.jwk()},
    "x5c": {"x5c": ["AAAA"]},
    "crit": {"crit": ["exp"], "exp": NOW + 600},
    "crit with what PyJWT knows": {"crit": ["b64"], "b64": True},
    "empty crit": {"crit": []},
    "b64": {"b64": False},
    "a logout token": {"typ": "logout+jwt"},
    "a type of a wrong type": {"typ": ["JWT"]},
    "a key id of a wrong type": {"kid": ["key-1"]},
    "an unknown key id": {"kid": "gone"},
    "another key's id": {"kid": "rsa"},
    "a path as key id": {"kid": "../../key-1"},
    "a key id with a NUL": {"kid": "key-1\x00"},
    "no algorithm": {"alg": None},
    "another algorithm": {"alg": "ES512"},
    "another key type's algorithm": {"alg": "RS256"},
    "a list as algorithm": {"alg": ["ES256"]},
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
async def test_a_header_cannot_bring_a_key_or_an_algorithm(verifier: JwtVerifier, header: dict[str, Any]) -> None:
    """Even in a token that the issuer signed."""
    await refused(verifier, KEY.sign(claims(), header))


async def test_a_token_without_a_signature_is_refused(verifier: JwtVerifier) -> None:
    """`alg: none`, in any case, with and without something in place of the signature."""
    for algorithm in ("none", "None", "NONE", "nOnE", ""):
        unsigned = segment({"typ": "JWT", "alg": algorithm, "kid": "key-1"}) + "." + segment(claims())
        for signature in ("", "AAAA", KEY.sign(claims()).rsplit(".", 1)[1]):
            await refused(verifier, f"{unsigned}.{signature}")


async def test_the_public_key_is_no_hmac_secret(verifier: JwtVerifier) -> None:
    """HS256 over the public key in each of its spellings."""
    assert not isinstance(RSA.private, type(ED.private))
    public = RSA.private.public_key()
    spellings = [
        public.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
    ]
    for secret in (*spellings, spellings[0].strip()):
        for key_id in ("rsa", None):
            header = {"typ": "JWT", "alg": "HS256", "kid": key_id}
            signed = segment(header) + "." + segment(claims())
            signature = encode(hmac.digest(secret, signed.encode(), hashlib.sha256))
            await refused(verifier, f"{signed}.{signature}")


async def test_a_forged_or_altered_token_is_refused(verifier: JwtVerifier) -> None:
    """A foreign key under a known id, a signature off by a bit, another token's signature, a changed payload."""
    good = KEY.sign(claims())
    head, payload, signature = good.split(".")
    await refused(verifier, FOREIGN.sign(claims()))
    await refused(verifier, f"{head}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}")
    await refused(verifier, f"{head}.{payload}.{KEY.sign(claims(sub='x')).rsplit('.', 1)[1]}")
    await refused(verifier, f"{head}.{segment(claims(sub='x'))}.{signature}")
    await refused(verifier, f"{head}.{payload}.")
    await refused(verifier, f"{head}.{payload}.{encode(bytes(64))}")


MALFORMED = {
    "empty": "",
    "dots": "..",
    "two parts": "a.b",
    "four parts": "a.b.c.d",
    "an encrypted token": "a.b.c.d.e",
    "junk": "!!.!!.!!",
    "a line break": KEY.sign(claims()) + "\n",
    "padding": KEY.sign(claims()) + "=",
    "a header that is no object": segment([]) + "." + segment(claims()) + ".AAAA",
    "a header that is no JSON": encode(b"{") + "." + segment(claims()) + ".AAAA",
    "a payload that is no JSON": segment({"alg": "ES256"}) + "." + encode(b"{") + ".AAAA",
    "a payload that is no text": segment({"alg": "ES256"}) + "." + encode(b"\xff\xfe") + ".AAAA",
    "a deep header": encode(b"[" * 3000) + "." + segment(claims()) + ".AAAA",
    "a deep payload": segment({"alg": "ES256", "kid": "key-1"}) + "." + encode(b"[" * 3000) + ".AAAA",
}


@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_tokens_are_refused(verifier: JwtVerifier, token: str) -> None:
    """Whatever a caller sends is a refusal, never another error."""
    await refused(verifier, token)


async def test_without_issuers_no_token_passes() -> None:
    """A gateway without issuers has no JWTs."""
    await refused(JwtVerifier((), clock=CLOCK), KEY.sign(claims()))


async def test_each_issuer_has_its_own_keys_and_audience(keys: CountingKeys) -> None:
    """A key vouches for its own issuer's tokens only."""
    other_key = SigningKey("ES256", "key-1")
    other_keys = FileKeys()
    other_keys.load(key_set(other_key.jwk()))
    other = "https://other.example"
    verifier = JwtVerifier([Issuer(ISSUER, AUDIENCE, keys), Issuer(other, "gate-2", other_keys)], clock=CLOCK)

    assert (await verifier.verify(other_key.sign(claims(iss=other, aud="gate-2")))).issuer == other
    await refused(verifier, KEY.sign(claims(iss=other, aud="gate-2")))
    await refused(verifier, other_key.sign(claims()))
    await refused(verifier, other_key.sign(claims(iss=other, aud=AUDIENCE)))


async def test_only_a_token_that_could_pass_makes_the_source_look_again(
    verifier: JwtVerifier, keys: CountingKeys
) -> None:
    """An old token, long past its key's life, must not use up the look that a new key needs."""
    await refused(verifier, KEY.sign(claims(exp=NOW - 3600), {"kid": "gone"}))
    await refused(verifier, KEY.sign(claims(aud="other"), {"kid": "gone"}))
    await refused(verifier, KEY.sign(claims(iss="https://other.example"), {"kid": "gone"}))
    assert keys.looked_again == 0

    await refused(verifier, KEY.sign(claims(), {"kid": "gone"}))
    assert keys.looked_again == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "alg", "kid", "typ", "crit", "b64", "zip", "cty"])


@settings(max_examples=60, deadline=None)
@given(header=st.dictionaries(NAMES, JSON, max_size=3), body=st.dictionaries(NAMES, JSON, max_size=3))
def test_whatever_the_issuer_signs_passes_or_is_refused(header: dict[str, Any], body: dict[str, Any]) -> None:
    """Claims and headers of any type: a verdict, never another error."""
    keys = FileKeys()
    keys.load(key_set(ED.jwk()))
    verifier = JwtVerifier([Issuer(ISSUER, AUDIENCE, keys)], clock=CLOCK)
    attempt = verifier.verify(ED.sign({**claims(), **body}, header))
    with suppress(CredentialsInvalid, StopIteration):
        attempt.send(None)


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=200)
    | st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}", fullmatch=True)
)
def test_whatever_a_stranger_sends_is_refused(token: str) -> None:
    """Any text, and any text of a token's form."""
    keys = FileKeys()
    keys.load(key_set(ED.jwk()))
    attempt = JwtVerifier([Issuer(ISSUER, AUDIENCE, keys)], clock=CLOCK).verify(token)
    with pytest.raises(CredentialsInvalid):
        attempt.send(None)
