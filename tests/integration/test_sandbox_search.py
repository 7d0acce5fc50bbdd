"""The sandbox's endpoint is the vendor's page, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import re
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.sandbox import matching
from gateway.sandbox.matching import HashMatcher
from gateway.sandbox.pictures import MAX_IMAGE_BYTES
from gateway.sandbox.server import DEMO_QUERY, SANDBOX_API_ID, SHIPPED_FACES
from tests.support.conditions import eventually
from tests.support.sandbox import SandboxCaller, sandbox_caller

ASTRONAUT = (SHIPPED_FACES / "demo" / "astronaut.jpg").read_bytes()


@pytest.fixture
async def caller() -> AsyncIterator[SandboxCaller]:
    async with sandbox_caller() as running:
        yield running


@pytest.mark.parametrize("encoding", ["file", "base64_part", "urlencoded"])
async def test_every_encoding_finds_the_portrait(caller: SandboxCaller, encoding: str) -> None:
    """`file` and `image_base64`, multipart and urlencoded: one answer of the page's form."""
    reply = await caller.search(encoding=encoding)
    assert (reply.code, reply.json["status"]) == (200, "OK")
    assert re.fullmatch(r"TID[0-9a-f]{32}", reply.json["request_id"])
    [face] = reply.json["result"]
    assert face.keys() == {"person_id", "face_id", "score", "create_time"}
    assert 0.8 <= face["score"] < 1
    assert max(face["person_id"], face["face_id"]) > 2**53
    assert 0 < face["person_id"] < 2**63


async def test_an_identical_file_scores_one(caller: SandboxCaller) -> None:
    """Only the very same bytes do, and so only they pass a threshold of 1."""
    assert (await caller.search(ASTRONAUT, threshold=1)).json["result"][0]["score"] == 1
    assert (await caller.search(threshold=1)).json == {"status": "OK", "request_id": _ANY, "result": []}


async def test_threshold_has_its_default_and_bounds_the_scores(caller: SandboxCaller) -> None:
    """0.8 unless given; no score below it."""
    everything = await caller.search(threshold=0, topN=10)
    assert len(everything.json["result"]) == caller.sandbox.face_sets.sizes["demo"] == 6
    assert len((await caller.search(topN=10)).json["result"]) == 1
    assert all(face["score"] >= 0.01 for face in (await caller.search(threshold=0.01, topN=10)).json["result"])


async def test_top_n_has_its_default_and_cuts_the_most_similar(caller: SandboxCaller) -> None:
    """1 unless given; most similar first."""
    assert len((await caller.search(threshold=0)).json["result"]) == 1
    three = (await caller.search(threshold=0, topN=3)).json["result"]
    all_of_them = (await caller.search(threshold=0, topN=10)).json["result"]
    assert three == all_of_them[:3]
    assert [face["score"] for face in all_of_them] == sorted((face["score"] for face in all_of_them), reverse=True)


async def test_photos_of_one_person_share_its_id(caller: SandboxCaller) -> None:
    """`ada.jpg` and `ada--2.jpg` are two faces of one person, and ids are the same in every run."""
    async with sandbox_caller() as other:
        faces = (await other.search(threshold=0, topN=10)).json["result"]
    assert (await caller.search(threshold=0, topN=10)).json["result"] == faces
    assert len({face["face_id"] for face in faces}) == 6
    assert len({face["person_id"] for face in faces}) == 5


BAD_FIELDS: list[dict[str, Any]] = [
    {"name": None},
    {"name": ""},
    {"name": "x" * 257},
    *({"threshold": value} for value in ("-0.01", "1.01", "nan", "inf", "0x1", "1_0", "", " 1", "0,8", "1e999")),
    *({"topN": value} for value in ("0", "11", "-1", "1.0", "1e1", "", "ten", "9" * 30)),
    *({"start_time": value} for value in ("0", "-1", "1.5", "", "9" * 18, "9" * 5000, "yesterday")),
]


@pytest.mark.parametrize("fields", BAD_FIELDS, ids=lambda fields: str(fields)[:40])
async def test_a_parameter_out_of_range_is_refused(caller: SandboxCaller, fields: dict[str, Any]) -> None:
    """400 INVALID_ARGUMENT with a reason that names the parameter."""
    reply = await caller.search(**fields)
    assert (reply.code, reply.json["status"]) == (400, "INVALID_ARGUMENT")
    assert next(iter(fields)) in reply.json["reason"]
    assert re.fullmatch(r"TID[0-9a-f]{32}", reply.json["request_id"])


@pytest.mark.parametrize("name", ["nobody", "..", "demo/../demo", "/etc", "demo\0", "./demo", "DEMO", "ä"])
async def test_an_unknown_face_set_is_a_failed_query(caller: SandboxCaller, name: str) -> None:
    """Names are looked up, never made into paths; the reason is not `no result`."""
    reply = await caller.search(name=name)
    assert (reply.code, reply.json["status"]) == (400, "QUERY_FAILED")
    assert reply.json["reason"] != "no result"


async def test_an_empty_face_set_has_no_result(caller: SandboxCaller) -> None:
    """The page's own sample of a failure."""
    reply = await caller.search(name="empty")
    assert reply.code == 400
    assert reply.json == {"status": "QUERY_FAILED", "reason": "no result", "request_id": _ANY}


async def test_an_image_must_be_given_once_and_be_one(caller: SandboxCaller) -> None:
    """Neither, both, no base64, no image: INVALID_ARGUMENT."""
    both = {"name": "demo", "image_base64": base64.b64encode(ASTRONAUT).decode(), "file": io.BytesIO(ASTRONAUT)}
    for data in (
        {"name": "demo"},
        both,
        {"name": "demo", "image_base64": "%%%"},
        {"name": "demo", "file": io.BytesIO(b"no image")},
    ):
        reply = await caller.post(data)
        assert (reply.code, reply.json["status"]) == (400, "INVALID_ARGUMENT")
        assert "image" in reply.json["reason"]


@pytest.mark.parametrize(("spoil", "code"), [("\r\n", 200), ("\n", 200), (" ", 400), ("-", 400), ("=", 400)])
async def test_base64_is_read_strictly(caller: SandboxCaller, spoil: str, code: int) -> None:
    """Line ends are skipped; a space (a plus sign that was not escaped) or another alphabet is refused."""
    text = base64.b64encode(ASTRONAUT).decode()
    reply = await caller.post({"name": "demo", "image_base64": text[:1000] + spoil + text[1000:]})
    assert reply.code == code


async def test_size_limits_over_http(caller: SandboxCaller) -> None:
    """5 MB is taken, a byte more is not, and a body beyond all sense is refused as well."""
    padded = ASTRONAUT + b"\0" * (MAX_IMAGE_BYTES - len(ASTRONAUT))
    assert (await caller.search(padded)).json["status"] == "OK"
    assert (await caller.search(padded, encoding="urlencoded")).json["status"] == "OK"
    assert (await caller.search(padded + b"\0")).json["status"] == "INVALID_ARGUMENT"
    assert (await caller.search(b"\0" * 14_000_000)).json["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("api_id", "code", "status"),
    [
        ("sandbox-expired-id", 401, "KEY_EXPIRED"),
        ("sandbox-no-permission-id", 403, "NO_PERMISSION"),
        ("sandbox-out-of-quota-id", 403, "OUT_OF_QUOTA"),
        ("sandbox-rate-limited-id", 403, "RATE_LIMIT_EXCEEDED"),
        ("nobody", 401, "UNAUTHORIZED"),
        ("", 401, "UNAUTHORIZED"),
        ("sandbox-second-id", 200, "OK"),
    ],
)
async def test_accounts_are_told_apart(caller: SandboxCaller, api_id: str, code: int, status: str) -> None:
    """Each state of an account has its status."""
    reply = await caller.search(api_id=api_id)
    assert (reply.code, reply.json["status"]) == (code, status)


async def test_a_wrong_secret_is_unauthorized(caller: SandboxCaller) -> None:
    """Also that of an expired id, and whatever else is wrong with the call."""
    assert (await caller.search(api_secret="wrong")).json["status"] == "UNAUTHORIZED"
    assert (await caller.search(api_secret="wrong", api_id="sandbox-expired-id")).json["status"] == "UNAUTHORIZED"
    assert (await caller.search(b"", api_secret="wrong", topN=99)).json["status"] == "UNAUTHORIZED"
    async with caller.session.post(caller.endpoint, data={"name": "demo"}) as response:
        assert response.status == 401


async def test_what_is_not_there_is_not_found(caller: SandboxCaller) -> None:
    """Other paths, versions and methods: the page's 404."""
    for method, path in (("GET", "/faceset/v2/search_face"), ("POST", "/faceset/v1/search_face"), ("GET", "/")):
        async with caller.session.request(method, caller.sandbox.url + path) as response:
            assert response.status == 404
            assert (await response.json())["status"] == "NOT_FOUND"


async def test_a_photo_is_decoded_once_for_many_callers(caller: SandboxCaller) -> None:
    """Searches of one image share its decoding; what is remembered stays within its bytes."""
    matcher = _matcher(caller)
    decoded = []
    read = matcher._read

    async def counted(image: bytes) -> Any:
        decoded.append(len(matcher._reading))
        return await read(image)

    matcher._read = counted  # type: ignore[method-assign]
    replies = await asyncio.gather(*(caller.search() for _ in range(20)))
    assert {reply.json["status"] for reply in replies} == {"OK"}
    before = len(decoded)
    await caller.search()
    assert len(decoded) == before
    matcher._memory_bytes = 100_000
    for number in range(5):
        await caller.search(DEMO_QUERY.read_bytes() + bytes(40_000) + bytes([number]))
    assert sum(map(len, matcher._photos)) == matcher._held_bytes <= 100_000


async def test_decoding_does_not_hold_up_the_loop(caller: SandboxCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a photo is being decoded, other callers are answered."""
    decoded = threading.Event()

    def slow_decoder(content: bytes) -> int:
        return int(decoded.wait(60))

    monkeypatch.setattr(matching, "perceptual_hash", slow_decoder)
    search = asyncio.create_task(caller.search())
    await eventually(lambda: caller.sandbox.stats.total.in_flight == 1, "the search is there")
    assert (await caller.control("GET", "stats"))[1]["in_flight"] == 1
    assert not search.done()
    decoded.set()
    assert (await search).code == 200


async def test_an_instant_sandbox_answers_any_photo() -> None:
    """Photos are not looked at, everything else is as ever."""
    async with sandbox_caller(instant=True) as caller:
        reply = await caller.search(b"\xff\xd8\xff anything", topN=4)
        assert [face["score"] for face in reply.json["result"]] == [0.999] * 4
        assert (await caller.search(b"GIF89a")).json["status"] == "INVALID_ARGUMENT"
        assert (await caller.search(topN=11)).json["status"] == "INVALID_ARGUMENT"
        assert (await caller.search(threshold=1)).json["result"] == []
        assert (await caller.search(name="empty")).json["reason"] == "no result"
        assert (await caller.search(api_id="nobody")).code == 401
        assert caller.sandbox.stats.api_ids[SANDBOX_API_ID].calls == 5


class _Any:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    __hash__ = None  # type: ignore[assignment]


_ANY = _Any()


def _matcher(caller: SandboxCaller) -> HashMatcher:
    [matcher] = [
        one
        for one in gc.get_objects()
        if isinstance(one, HashMatcher) and one._executor is caller.sandbox.face_sets._executor
    ]
    return matcher
