"""Calls of every kind, good and bad, and bugs of every kind, on a stage full of canaries."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from facegate.admin.v1 import admin_service_pb2 as admin
from facegate.search.v1 import face_search_service_pb2 as pb

from tests.support import canaries
from tests.support.callers import tls_channel, who
from tests.support.canaries import (
    API_SECRET,
    CALLERS_TEXT,
    OTHER_PHOTO,
    PHOTO,
    TOKEN,
    UPSTREAM_NAME,
    VENDOR_TEXT,
)
from tests.support.canary_stage import TRACE, Stage
from tests.support.conditions import eventually
from tests.support.vendor import json_response, response

MATCH = {
    "person_id": canaries.PERSON_ID,
    "face_id": canaries.FACE_ID,
    "score": canaries.SCORE,
    "create_time": canaries.BORN,
}
OK = json_response(200, {"status": "OK", "request_id": "TID1", "result": [MATCH]})
SAID = f"{VENDOR_TEXT} {API_SECRET} {UPSTREAM_NAME}"
BAD = f'{{"status": "{SAID}", "reason": "{SAID}", "person_id": {canaries.PERSON_ID}}}'.encode()
# Each status of the vendor's page, and what a broken or a hostile one sends.
ANSWERS = [
    *(
        json_response(code, {"status": status, "reason": SAID, "request_id": VENDOR_TEXT[:8]})
        for code, status in (
            (400, "INVALID_ARGUMENT"),
            (400, "QUERY_FAILED"),
            (400, "DOWNLOAD_ERROR"),
            (401, "UNAUTHORIZED"),
            (401, "KEY_EXPIRED"),
            (403, "NO_PERMISSION"),
            (403, "OUT_OF_QUOTA"),
            (403, "RATE_LIMIT_EXCEEDED"),
            (404, "NOT_FOUND"),
            (500, "INTERNAL_ERROR"),
            (200, "QUERY_FAILED"),
        )
    ),
    *(response(code, BAD, f"x-{VENDOR_TEXT}: {SAID}") for code in (200, 400, 401, 403, 408, 413, 418, 429, 500, 503)),
    response(302, b"", f"location: https://{VENDOR_TEXT}.example/{API_SECRET}"),
    response(200, VENDOR_TEXT.encode() * 10),
    response(200, b'{"status": "OK", "result": [' + BAD),
    json_response(200, {"status": "OK", "result": [{**MATCH, "score": SAID}]}),
    json_response(200, {"status": "OK", "result": [{**MATCH, "person_id": 1.5}, SAID]}),
    json_response(200, {"status": "OK", "request_id": "TID1"}),
]
BROKEN = (f"{SAID}\r\n\r\n".encode(), OK[:60], f"HTTP/1.1 {SAID}\r\n\r\n".encode())


def search(
    stage: Stage, token: str = TOKEN, mode: pb.CacheMode.ValueType = pb.CACHE_MODE_READ_WRITE, **request: Any
) -> Any:
    """A traced search."""
    given = {"face_set": "employees", "image": pb.Image(content=PHOTO), "max_results": 3, **request}
    message = pb.SearchFaceRequest(cache_control=pb.CacheControl(mode=mode), **given)
    return stage.search_stub.SearchFace(message, metadata=signed(token), timeout=10)


def signed(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a caller with this token."""
    return (("authorization", f"Bearer {token}"), TRACE)


async def good_calls(stage: Stage) -> None:
    """Each way to an answer, and every RPC that there is."""
    stage.answer = OK
    assert await stage.end(search(stage)) == "OK"
    assert await stage.end(search(stage)) == "OK"
    modes = (pb.CACHE_MODE_REFRESH, pb.CACHE_MODE_BYPASS, pb.CACHE_MODE_ONLY_IF_CACHED)
    assert [await stage.end(search(stage, mode=mode)) for mode in modes] == ["OK"] * 3
    assert await stage.end(search(stage, canaries.JWT, image=pb.Image(base64=base64.b64encode(PHOTO).decode()))) == "OK"
    stage.hold.clear()
    asked, image = stage.asked, pb.Image(content=OTHER_PHOTO)
    both = [asyncio.ensure_future(stage.end(search(stage, image=image))) for _ in range(2)]
    await eventually(lambda: stage.asked > asked, "the shared search")
    stage.hold.set()
    assert await asyncio.gather(*both) == ["OK"] * 2
    own, operator = signed(TOKEN), signed(canaries.OPERATOR_TOKEN)
    face_set = admin.TenantFaceSet(tenant="kyc", face_set="employees")
    for call in (
        stage.search_stub.GetQuota(pb.GetQuotaRequest(), metadata=own),
        stage.search_stub.GetUsage(pb.GetUsageRequest(), metadata=own),
        stage.admin_stub.ListTenantUsage(admin.ListTenantUsageRequest(), metadata=operator),
        stage.admin_stub.PurgeCache(admin.PurgeCacheRequest(face_set=face_set), metadata=operator),
        stage.admin_stub.PurgeCache(admin.PurgeCacheRequest(tenant="kyc"), metadata=operator),
        stage.admin_stub.PurgeCache(admin.PurgeCacheRequest(all=True), metadata=operator),
    ):
        assert await stage.end(call) == "OK"
    # What a purge killed is cached anew, for a dump to hold it.
    assert await stage.end(search(stage)) == "OK"


async def refused_calls(stage: Stage) -> None:
    """Refused for who calls, for what is asked, and for how much."""
    stage.answer = OK
    for token in (TOKEN + "x", canaries.BAD_JWT, f"{TOKEN}, Bearer {canaries.OPERATOR_TOKEN}"):
        assert await stage.end(search(stage, token)) == "UNAUTHENTICATED"
    for request in (
        {"face_set": UPSTREAM_NAME},
        {"image": pb.Image(base64=base64.b64encode(PHOTO).decode() + "!")},
        {"image": pb.Image(content=PHOTO[len(PHOTO) // 3 :])},
        {"image": pb.Image(content=PHOTO[:-2000])},
        {"threshold": 7.0, "max_results": 99},
    ):
        assert await stage.end(search(stage, **request)) in {"PERMISSION_DENIED", "INVALID_ARGUMENT"}
    assert await stage.end(search(stage, mode=pb.CACHE_MODE_ONLY_IF_CACHED, threshold=0.1)) == "NOT_FOUND"
    for token in (canaries.HASTY, canaries.POOR):
        ends = [await stage.end(search(stage, token, pb.CACHE_MODE_BYPASS)) for _ in range(3)]
        assert ends == ["OK", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"]
    stage.hold.clear()
    asked = stage.asked
    first = asyncio.ensure_future(stage.end(search(stage, canaries.BUSY, pb.CACHE_MODE_BYPASS)))
    await eventually(lambda: stage.asked > asked, "the first of two")
    assert await stage.end(search(stage, canaries.BUSY, pb.CACHE_MODE_BYPASS)) == "RESOURCE_EXHAUSTED"
    stage.hold.set()
    assert await first == "OK"
    operators = stage.admin_stub.ListTenantUsage(admin.ListTenantUsageRequest(), metadata=signed(TOKEN))
    assert await stage.end(operators) == "PERMISSION_DENIED"
    for path, token, body in (
        ("/facegate.search.v1.FaceSearchService/SearchFace", TOKEN, PHOTO),
        ("/facegate.search.v1.FaceSearchService/BulkSearchFaces", TOKEN, PHOTO),
        ("/facegate.admin.v1.AdminService/GetStatus", canaries.OPERATOR_TOKEN, b""),
        (f"/{CALLERS_TEXT}/{CALLERS_TEXT}", TOKEN, PHOTO),
    ):
        metadata = (*signed(token), ("x-request-id", CALLERS_TEXT))
        method: Any = stage.channel.unary_unary(path)
        status = await stage.end(method(body, metadata=metadata))
        assert status in {"UNIMPLEMENTED", "INVALID_ARGUMENT"}


async def vendors_worst(stage: Stage) -> None:
    """Everything that can come back, to searches that no cache answers; a vendor that is silent; one that hangs up."""
    for stage.answer in ANSWERS:
        await stage.end(search(stage, mode=pb.CACHE_MODE_BYPASS))
    stage.hang_up = True
    for stage.answer in BROKEN:
        assert await stage.end(search(stage, mode=pb.CACHE_MODE_BYPASS)) in {"UNAVAILABLE", "INTERNAL"}
    stage.answer, stage.hang_up = OK, False
    stage.hold.clear()
    message = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=PHOTO), threshold=0.05)
    hurried = stage.search_stub.SearchFace(message, metadata=signed(TOKEN), timeout=0.3)
    assert await stage.end(hurried) in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
    stage.hold.set()


async def certificate_calls(stage: Stage) -> None:
    """By a certificate alone, with what agrees, and with what does not."""
    async with tls_channel(stage.gateway.address, canaries.AUTHORITY, canaries.WORKLOAD) as channel:
        named = [await who(channel, token) for token in (None, TOKEN, canaries.JWT, canaries.BAD_JWT)]
    assert named == ["kyc", "kyc", "kyc", "CREDENTIALS_INVALID"]
