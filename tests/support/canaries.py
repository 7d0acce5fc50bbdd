"""What must never leave the gateway, each a value that occurs nowhere else, and the search for it in any disguise."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import time
from collections.abc import Iterator, Mapping
from functools import cache
from urllib.parse import quote

from blake3 import blake3

from gateway.auth.tokens import token_digest
from tests.support.callers import SPIFFE_ID, jwt_of
from tests.support.images import jpeg
from tests.support.oidc import SigningKey
from tests.support.pki import Authority

API_ID, API_SECRET = "canaryapiid4711", "canaryapisecret0815"
TOKEN, OPERATOR_TOKEN = "canarytoken" + "a" * 32, "canaryoperator" + "b" * 32
# Tenants that are refused: by rate, by concurrency, by upstream calls.
HASTY, BUSY, POOR = ("canary" + name * 6 for name in ("hasty", "busy", "poor"))
TOKENS = (TOKEN, OPERATOR_TOKEN, HASTY, BUSY, POOR)
UPSTREAM_NAME = "canary-upstream-faceset"
VENDOR_TEXT = "canaryvendortext"
PERSON_ID, FACE_ID, SCORE, BORN = 777000111222333, 888000444555666, 0.98765432101, 1669077702
PHOTO, OTHER_PHOTO = jpeg(320, 240, seed=99), jpeg(320, 240, seed=98)
PIECE_BYTES = 24
# Of an exception's text, which is none of a caller's nor of the vendor's.
BUG_TEXT = "canarybugtext"
# What a caller makes up: told in its own log line and to itself, but no label of a metric and nothing that is kept.
CALLERS_TEXT = "canarycallerstext"
CLAIM = "canary.claim@corp.example"
KEY = SigningKey()
JWT = jwt_of(KEY, time.time(), email=CLAIM)
BAD_JWT = jwt_of(SigningKey(), time.time(), email=CLAIM)
AUTHORITY = Authority()
WORKLOAD = AUTHORITY.workload(SPIFFE_ID)

# Where what a caller made up may be read.
TELLS_CALLERS_TEXT = ("logs", "traces", "errors")


def _parts_of(image: bytes) -> Iterator[bytes]:
    """Pieces from the middle, where no two images are alike, and every plain hash of the whole."""
    pieces = range(len(image) // 3, len(image) - PIECE_BYTES, len(image) // 5)
    yield from (image[offset : offset + PIECE_BYTES] for offset in pieces)
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        yield hashlib.new(name, image).digest()
    yield blake3(image).digest()


def _body_of(pem: bytes) -> bytes:
    return b"".join(pem.splitlines()[1:-1])


CANARIES: Mapping[str, tuple[str | bytes | int | float, ...]] = {
    "credential": (API_ID, API_SECRET),
    "token": (*TOKENS, *map(token_digest, TOKENS), *JWT.split("."), *BAD_JWT.split(".")[1:], CLAIM),
    "certificate": (
        _body_of(WORKLOAD.certificate)[200:260],
        base64.b64decode(_body_of(WORKLOAD.certificate))[60:90],
        SPIFFE_ID,
    ),
    "image": (*_parts_of(PHOTO), *_parts_of(OTHER_PHOTO)),
    "match": (PERSON_ID, FACE_ID, SCORE),
    "upstream name": (UPSTREAM_NAME,),
    "vendor text": (VENDOR_TEXT,),
    "bug text": (BUG_TEXT,),
    "caller's text": (CALLERS_TEXT,),
}
# The same in each JWT, and no secret.
_PUBLIC = set(JWT.split(".")[:1])


def _base64s(value: bytes) -> Iterator[bytes]:
    """What of a value's base64 stays the same whatever stands around it, by where it begins."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        yield encoded[(0, 2, 3)[before] : (before + len(value)) * 8 // 6]


def disguises(value: str | bytes | float) -> Iterator[bytes]:
    """A value in every form that a careless writer would give it."""
    if isinstance(value, int):
        yield from (b"%d" % value, b"%x" % value, struct.pack("<q", value), struct.pack(">q", value), _varint(value))
        yield from _base64s(b"%d" % value)
        return
    if isinstance(value, float):
        yield from (str(value)[:8].encode(), struct.pack("<d", value), struct.pack(">d", value))
        return
    raw = value.encode() if isinstance(value, str) else value
    yield raw
    if isinstance(value, str):
        yield from (value.upper().encode(), value.lower().encode())
    yield from (raw.hex().encode(), raw.hex().upper().encode(), raw.hex(" ").encode())
    for encoded in _base64s(raw):
        yield from (encoded, encoded.replace(b"+", b"-").replace(b"/", b"_"))
    yield from (quote(raw).encode(), "".join(f"%{byte:02X}" for byte in raw).encode())
    text = raw.decode("latin-1")
    yield from (repr(raw)[2:-1].encode(), text.encode())
    yield from (json.dumps(text, ensure_ascii=only_ascii)[1:-1].encode() for only_ascii in (True, False))
    yield "".join(f"\\u{ord(character):04x}" for character in text).encode()


def _varint(value: int) -> bytes:
    """As protobuf writes it."""
    encoded = b""
    while value > 0x7F:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


@cache
def _wanted() -> dict[str, tuple[bytes, ...]]:
    return {
        kind: tuple({form for value in values if value not in _PUBLIC for form in disguises(value)})
        for kind, values in CANARIES.items()
    }


def leaks(sinks: Mapping[str, bytes]) -> set[tuple[str, str]]:
    """Which kinds of canaries are in which of the sinks."""
    return {
        (sink, kind)
        for sink, content in sinks.items()
        for kind, forms in _wanted().items()
        if not (kind == "caller's text" and sink in TELLS_CALLERS_TEXT) and any(form in content for form in forms)
    }
