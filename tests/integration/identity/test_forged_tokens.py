"""Tokens that are not what they say, over the wire: each is the same refusal and makes no request anywhere."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.auth.tokens import new_token
from tests.support.callers import AUDIENCE, ISSUER, SUBJECT, WORKLOAD, claims, holder_of, jwt_of, tenant, who
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal_of, running
from tests.support.oidc import KeyServer, SigningKey, encode, key_set, segment, serve_keys
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = SigningKey("RS256")
OTHER_ISSUER = "https://issuer.example"
FORGER = SigningKey("RS256")
STATIC = new_token()
CLOCK = ManualClock()
NOW = CLOCK.now()
SIGNED = jwt_of(KEY, NOW)


@dataclass
class World:
    """A gateway, a client of it, its issuer's key server, and a listener that nothing should ever connect to."""

    channel: grpc.aio.Channel
    keys: KeyServer
    elsewhere: str
    connections: list[int]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    connections: list[int] = []

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    elsewhere = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/keys"
    async with listener, serve_keys() as keys:
        keys.document = key_set(KEY.jwk())
        issuers = [{"issuer": name, "audience": AUDIENCE, "jwks_url": keys.url} for name in (ISSUER, OTHER_ISSUER)]
        config = config_of(
            auth={"anonymous_tenant": None, "jwt_issuers": issuers},
            tenants=[tenant("kyc", WORKLOAD), tenant("static", holder_of(STATIC))],
        )
        async with (
            running(config, upstream=FakeUpstream(), clock=CLOCK) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            await eventually(lambda: len(keys.requests) == 2, "the keys are fetched")
            yield World(channel, keys, elsewhere, connections)


def unsigned(algorithm: str, signature: str = "") -> str:
    """A token without a signature, or with one that means nothing."""
    return f"{segment({'typ': 'JWT', 'alg': algorithm, 'kid': KEY.key_id})}.{segment(claims(NOW))}.{signature}"


def by_public_key(form: Encoding, layout: PublicFormat, algorithm: str = "HS256", digest: Any = hashlib.sha256) -> str:
    """A token whose MAC has the issuer's public key for a secret."""
    secret = KEY.private.public_key().public_bytes(form, layout)
    signed = unsigned(algorithm).rstrip(".")
    return f"{signed}.{encode(hmac.new(secret, signed.encode(), digest).digest())}"


HEAD, PAYLOAD, SIGNATURE = SIGNED.split(".")
PEM, DER, SPKI, PKCS1 = Encoding.PEM, Encoding.DER, PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
FORGED = {
    "alg none": unsigned("none"),
    "alg none, with the good signature": unsigned("none", SIGNATURE),
    "alg None": unsigned("None", "AAAA"),
    "alg NONE": unsigned("NONE", "AAAA"),
    "no alg": f"{segment({'typ': 'JWT', 'kid': KEY.key_id})}.{PAYLOAD}.{SIGNATURE}",
    "HS256 by the public key in PEM": by_public_key(PEM, SPKI),
    "HS256 by the public key in PKCS 1": by_public_key(PEM, PKCS1),
    "HS256 by the public key in DER": by_public_key(DER, SPKI),
    "HS512 by the public key in PEM": by_public_key(PEM, SPKI, "HS512", hashlib.sha512),
    "RS512": jwt_of(KEY, NOW, {"alg": "RS512"}),
    "PS256": jwt_of(KEY, NOW, {"alg": "PS256"}),
    "a foreign key of the same id": jwt_of(FORGER, NOW),
    "a good signature of other claims": f"{HEAD}.{segment(claims(NOW, exp=NOW + 9999))}.{SIGNATURE}",
    "a cut signature": SIGNED[:-8],
    "no signature": f"{HEAD}.{PAYLOAD}.",
    "five parts": f"{SIGNED}.AAAA.AAAA",
    "padding": f"{HEAD}.{PAYLOAD}.{SIGNATURE}==",
    "claims that are a list": KEY.sign([claims(NOW)]),
    "a logout token": jwt_of(KEY, NOW, {"typ": "logout+jwt"}),
    "a security event": jwt_of(KEY, NOW, {"typ": "secevent+jwt"}),
    "exp past": jwt_of(KEY, NOW, exp=NOW - 31),
    "exp missing": jwt_of(KEY, NOW, exp=None),
    "exp as text": jwt_of(KEY, NOW, exp=str(NOW + 60)),
    "exp true": jwt_of(KEY, NOW, exp=True),
    "exp infinite": f"{HEAD}.{encode(json.dumps(claims(NOW, exp=float('inf'))).encode())}.{SIGNATURE}",
    "nbf ahead": jwt_of(KEY, NOW, nbf=NOW + 31),
    "iat ahead": jwt_of(KEY, NOW, iat=NOW + 31),
    "aud wrong": jwt_of(KEY, NOW, aud="other"),
    "aud missing": jwt_of(KEY, NOW, aud=None),
    "aud empty": jwt_of(KEY, NOW, aud=""),
    "aud longer": jwt_of(KEY, NOW, aud=f"{AUDIENCE}-admin"),
    "aud in capitals": jwt_of(KEY, NOW, aud=AUDIENCE.upper()),
    "aud a list with others": jwt_of(KEY, NOW, aud=[AUDIENCE, "other"]),
    "aud a list of others": jwt_of(KEY, NOW, aud=["other"]),
    "aud an empty list": jwt_of(KEY, NOW, aud=[]),
    "aud a list in a list": jwt_of(KEY, NOW, aud=[[AUDIENCE]]),
    "aud an object": jwt_of(KEY, NOW, aud={AUDIENCE: AUDIENCE}),
    "iss wrong": jwt_of(KEY, NOW, iss="https://attacker.example"),
    "iss missing": jwt_of(KEY, NOW, iss=None),
    "iss longer": jwt_of(KEY, NOW, iss=f"{ISSUER}/"),
    "iss in capitals": jwt_of(KEY, NOW, iss=ISSUER.upper()),
    "iss a list": jwt_of(KEY, NOW, iss=[ISSUER]),
    "iss a list of all": jwt_of(KEY, NOW, iss=[ISSUER, OTHER_ISSUER]),
    "sub missing": jwt_of(KEY, NOW, sub=None),
    "sub empty": jwt_of(KEY, NOW, sub=""),
    "sub a list": jwt_of(KEY, NOW, sub=[SUBJECT]),
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED)
async def test_a_forged_token_is_refused(world: World, token: str) -> None:
    """Without a reason, and without any look-up."""
    before = len(world.keys.requests)
    assert await who(world.channel, token) == "CREDENTIALS_INVALID"
    assert len(world.keys.requests) == before
    assert world.connections == []


@pytest.mark.parametrize("signer", [KEY, FORGER], ids=["a good key", "the forger's key"])
@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "crit", "b64"])
async def test_a_header_cannot_bring_or_point_to_a_key(world: World, name: str, signer: SigningKey) -> None:
    """Such a token is refused even if its signature is good, and the address in it is never connected to."""
    value: dict[str, Any] = {
        "jku": world.elsewhere,
        "x5u": world.elsewhere,
        "jwk": signer.jwk(),
        "x5c": [encode(signer.private.public_key().public_bytes(DER, SPKI))],
        "crit": ["exp"],
        "b64": False,
    }
    before = len(world.keys.requests)
    for key_id in (KEY.key_id, "unheard-of"):
        token = jwt_of(signer, NOW, {name: value[name], "kid": key_id})
        assert await who(world.channel, token) == "CREDENTIALS_INVALID"
    assert world.connections == []
    assert len(world.keys.requests) == before


GOOD = {
    "a token": SIGNED,
    "aud a list of one": jwt_of(KEY, NOW, aud=[AUDIENCE]),
    "expired within the leeway": jwt_of(KEY, NOW, exp=NOW - 29),
    "not yet valid, within the leeway": jwt_of(KEY, NOW, nbf=NOW + 29, iat=NOW + 29),
    "no typ": jwt_of(KEY, NOW, {"typ": None}),
    "an access token": jwt_of(KEY, NOW, {"typ": "at+jwt"}),
}


@pytest.mark.parametrize("token", GOOD.values(), ids=GOOD)
async def test_a_good_token_names_its_tenant(world: World, token: str) -> None:
    """The control: what is refused above is refused for the one thing that is wrong with it."""
    assert await who(world.channel, token) == "kyc"


async def test_a_proven_subject_without_a_tenant_is_told_so(world: World) -> None:
    """Only who has proven itself; another issuer's namesake of a known subject is nobody."""
    assert await who(world.channel, jwt_of(KEY, NOW, sub="system:serviceaccount:kyc:other")) == "TENANT_NOT_ALLOWED"
    assert await who(world.channel, jwt_of(KEY, NOW, iss=OTHER_ISSUER)) == "TENANT_NOT_ALLOWED"


async def test_two_tokens_are_refused(world: World) -> None:
    """Whichever is good, and in either order: which one counts must not depend on who reads them."""
    for tokens in ((SIGNED, STATIC), (STATIC, SIGNED), (STATIC, STATIC), (STATIC, "nonsense")):
        metadata = tuple(("authorization", f"Bearer {token}") for token in tokens)
        assert await who(world.channel, None, metadata) == "CREDENTIALS_INVALID"
    assert await who(world.channel, None, (("authorization", f"Bearer {SIGNED}, Bearer {STATIC}"),)) == (
        "CREDENTIALS_INVALID"
    )


async def test_all_refusals_are_alike(world: World) -> None:
    """Code, text, details and trailers, but for the call's id and times: nothing says which check failed."""
    answers = set()
    get_quota: Any = world.channel.unary_unary("/facegate.search.v1.FaceSearchService/GetQuota")
    for token in (*FORGED.values(), "nonsense", new_token()):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await get_quota(b"", metadata=(("authorization", f"Bearer {token}"), ("x-request-id", "same")))
        answer = refusal_of(raised.value)
        details = {name: str(detail) for name, detail in answer.details.items()}
        answers.add((answer.code, answer.message, str(details), tuple(sorted(answer.trailers))))

    assert len(answers) == 1
    assert next(iter(answers))[0] is grpc.StatusCode.UNAUTHENTICATED


async def test_a_key_serves_one_algorithm(world: World) -> None:
    """An RSA key's id with another algorithm is an id that is not known: refused, after one look at the issuer."""
    before = len(world.keys.requests)
    for algorithm in ("ES256", "EdDSA", "ES256"):
        assert await who(world.channel, jwt_of(KEY, NOW, {"alg": algorithm})) == "CREDENTIALS_INVALID"
    assert len(world.keys.requests) <= before + 1
    assert world.connections == []
