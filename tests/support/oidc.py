"""An issuer of JWTs for tests: its keys, its tokens, good and forged, and its key set over real HTTP."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKey:
    """A private key, its id, and the algorithm that it signs with."""

    def __init__(self, algorithm: str = "ES256", key_id: str | None = "key-1", *, rsa_bits: int = 2048) -> None:
        self.algorithm = algorithm
        self.key_id = key_id
        self.private: PrivateKey
        if algorithm == "RS256":
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
        elif algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public half as a JWK; a change of None leaves a member out."""
        member = _as_jwk(self.private.public_key())
        member |= {"kid": self.key_id, "use": "sig", "alg": self.algorithm} | changes
        return {name: value for name, value in member.items() if value is not None}

    def private_jwk(self) -> dict[str, Any]:
        """The private half as a JWK, which no issuer should publish."""
        return _as_jwk(self.private) | {"kid": self.key_id}

    def sign(self, claims: Any, headers: dict[str, Any] | None = None) -> str:
        """A token with these claims; a header of None leaves it out."""
        header = {"typ": "JWT", "alg": self.algorithm, "kid": self.key_id} | (headers or {})
        signed = segment({name: value for name, value in header.items() if value is not None}) + "." + segment(claims)
        signer = jwt.PyJWS().get_algorithm_by_name(self.algorithm)
        return f"{signed}.{encode(signer.sign(signed.encode(), self.private))}"


def segment(value: Any) -> str:
    """JSON as a segment of a token."""
    return encode(json.dumps(value).encode())


def encode(value: bytes) -> str:
    """Bytes as a segment of a token."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def key_set(*members: dict[str, Any]) -> bytes:
    """A JWKS document."""
    return json.dumps({"keys": members}).encode()


def _as_jwk(key: Any) -> dict[str, Any]:
    for algorithm in (RSAAlgorithm, ECAlgorithm, OKPAlgorithm):
        try:
            return dict(algorithm.to_jwk(key, as_dict=True))
        except (jwt.InvalidKeyError, AttributeError, TypeError):
            continue
    raise AssertionError("a key of no known type")


class KeyServer:
    """An issuer's HTTP endpoint. `requests` counts what it got; the other attributes say how it answers."""

    def __init__(self) -> None:
        self.url = ""
        self.document = key_set()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.hold: asyncio.Event | None = None
        self.requests: list[str] = []
        self.request_headers: list[dict[str, str]] = []

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        self.request_headers.append(dict(request.headers))
        if self.hold is not None:
            await self.hold.wait()
        return web.Response(status=self.status, body=self.document, headers=self.headers)


@asynccontextmanager
async def serve_keys() -> AsyncIterator[KeyServer]:
    """A key server on a free port of the loopback address; it answers every path."""
    server = KeyServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server._answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}/keys"
        yield server
    finally:
        await runner.cleanup()
