"""A stock command-line client reads the gateway's schema by reflection, searches, and decodes its errors."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from tests.support.buf import buf_curl
from tests.support.end_to_end import FACE_SET, PHOTO, Stage, staged

SERVICE = "facegate.search.v1.FaceSearchService"


def body(**changes: Any) -> str:
    """A search as JSON."""
    image = {"content": base64.b64encode(PHOTO).decode()}
    return json.dumps({"face_set": FACE_SET, "image": image} | changes)


async def search(stage: Stage, home: Path, request: str) -> tuple[int, str, str]:
    """Calls SearchFace with `-d @`."""
    token = f"authorization: Bearer {stage.token}"
    url = f"http://{stage.gateway.address}/{SERVICE}/SearchFace"
    return await buf_curl(home, "-H", token, "-d", "@-", url, stdin=request)


async def test_it_lists_services_and_methods(tmp_path: Path) -> None:
    """Both services, with every method of theirs."""
    async with staged(tmp_path) as stage:
        url = f"http://{stage.gateway.address}"
        status, out, err = await buf_curl(tmp_path, "--list-services", url)
        assert status == 0, err
        assert {SERVICE, "facegate.admin.v1.AdminService", "grpc.health.v1.Health"} <= set(out.split())
        status, out, err = await buf_curl(tmp_path, "--list-methods", url)
        assert status == 0, err
        assert {f"{SERVICE}/SearchFace", f"{SERVICE}/GetQuota"} <= set(out.split())


async def test_it_searches(tmp_path: Path) -> None:
    """The answer is the proto's JSON: 64-bit ids as text, so that no JSON reader rounds them."""
    async with staged(tmp_path) as stage:
        status, out, err = await search(stage, tmp_path, body())
        assert status == 0, err
        answer = json.loads(out)
        assert answer["outcome"] == "SEARCH_OUTCOME_MATCHED"
        assert all(isinstance(answer["matches"][0][key], str) for key in ("personId", "faceId"))
        assert answer["quotaCharge"] == {"upstreamCalls": "1"}
        stage.assert_nothing_private(json.dumps(answer["matches"]))


def read_detail(message: Message, error: dict[str, Any]) -> None:
    """Reads the detail of the message's type. buf names the types, and leaves the bytes in base64; grpcurl decodes them."""
    (value,) = [one["value"] for one in error["details"] if one["type"] == message.DESCRIPTOR.full_name]
    message.ParseFromString(base64.b64decode(value + "=" * (-len(value) % 4)))


async def test_it_shows_the_details_of_an_error(tmp_path: Path) -> None:
    """Code, message and every detail, each by its type: the reason and all violations."""
    async with staged(tmp_path) as stage:
        status, _, err = await search(stage, tmp_path, body(threshold=2, max_results=0))
        assert status != 0
        error = json.loads(err)
        assert error["code"] == "invalid_argument"
        info, bad_request = ErrorInfo(), BadRequest()
        read_detail(info, error)
        read_detail(bad_request, error)
        assert (info.domain, info.reason) == ("facegate", "INVALID_REQUEST")
        assert [violation.field for violation in bad_request.field_violations] == ["threshold", "max_results"]
