"""The main job on real photos: gateway and sandbox, over real gRPC and real HTTP."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image

from gateway.sandbox.server import DEMO_QUERY, SANDBOX_API_ID, SANDBOX_API_SECRET, SHIPPED_FACES, run_sandbox
from tests.support.gateway import config_of, running
from tests.support.made_faces import made_face

if TYPE_CHECKING:
    from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceAsyncStub

PORTRAIT = DEMO_QUERY.read_bytes()
NO_CACHE = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)


@pytest.fixture(params=["multipart", "base64"])
async def stub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[object]:
    """A client of a gateway before the sandbox with its shipped photos, in either way of sending an image."""
    monkeypatch.setenv("E2E_API_ID", SANDBOX_API_ID)
    monkeypatch.setenv("E2E_API_SECRET", SANDBOX_API_SECRET)
    async with run_sandbox() as sandbox:
        upstream = {
            "base_url": sandbox.url,
            "credentials": [{"name": "primary", "api_id_env": "E2E_API_ID", "api_secret_env": "E2E_API_SECRET"}],
            "image_encoding": request.param,
        }
        face_sets = {"staff": "demo", "guests": "visitors", "nobody": "empty", "gone": "not-there"}
        config = config_of(upstream=upstream, tenants=[{"id": "demo", "face_sets": face_sets}])
        async with running(config) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
            yield FaceSearchServiceStub(channel)


def search(image: bytes = PORTRAIT, **fields: object) -> pb.SearchFaceRequest:
    """A search of the staff."""
    return pb.SearchFaceRequest(image=pb.Image(content=image), **({"face_set": "staff"} | fields))  # type: ignore[arg-type]


def copy_of_portrait(**options: object) -> bytes:
    """The enrolled portrait, resized and compressed anew."""
    file = io.BytesIO()
    with Image.open(SHIPPED_FACES / "demo" / "astronaut.jpg") as portrait:
        portrait.resize((300, 300)).save(file, **options)  # type: ignore[arg-type]
    return file.getvalue()


async def test_copies_of_an_enrolled_portrait_are_found(stub: FaceSearchServiceAsyncStub) -> None:
    """Smaller, brighter, compressed more, as JPEG or PNG: one person, with a score under 1."""
    persons = set()
    for photo in (PORTRAIT, copy_of_portrait(format="JPEG", quality=40), copy_of_portrait(format="PNG")):
        answer = await stub.SearchFace(search(photo))
        assert answer.outcome == pb.SEARCH_OUTCOME_MATCHED
        (match,) = answer.matches
        assert 0.8 <= match.score < 1
        assert abs(match.create_time.seconds - time.time()) < 50 * 366 * 86_400
        persons.add((match.person_id, match.face_id))
    assert len(persons) == 1


async def test_others_are_not_found(stub: FaceSearchServiceAsyncStub) -> None:
    """NO_MATCH in another face set and for another face; NO_RESULT_REPORTED where nobody is enrolled."""
    stranger = io.BytesIO()
    made_face(9999).save(stranger, "JPEG")
    for request, outcome in (
        (search(face_set="guests"), pb.SEARCH_OUTCOME_NO_MATCH),
        (search(stranger.getvalue()), pb.SEARCH_OUTCOME_NO_MATCH),
        (search(face_set="nobody"), pb.SEARCH_OUTCOME_NO_RESULT_REPORTED),
    ):
        answer = await stub.SearchFace(request)
        assert (list(answer.matches), answer.outcome) == ([], outcome)


async def test_the_threshold_decides_at_the_vendor(stub: FaceSearchServiceAsyncStub) -> None:
    """Above the score there is no match; an explicit 0 finds everybody, up to the number asked for."""
    (match,) = (await stub.SearchFace(search())).matches
    above = search(threshold=match.score + 0.001, cache_control=NO_CACHE)
    assert (await stub.SearchFace(above)).outcome == pb.SEARCH_OUTCOME_NO_MATCH
    for wanted, found in ((1, 1), (3, 3), (10, 6)):
        answer = await stub.SearchFace(search(threshold=0.0, max_results=wanted, cache_control=NO_CACHE))
        assert len(answer.matches) == found
        scores = [match.score for match in answer.matches]
        assert scores == sorted(scores, reverse=True)
        assert answer.matches[0].face_id == match.face_id
        applied = answer.applied_parameters
        assert (applied.threshold, applied.max_results) == (0.0, wanted)


async def test_the_start_time_decides_at_the_vendor(stub: FaceSearchServiceAsyncStub) -> None:
    """Faces that were enrolled before it are not found."""
    everybody = search(threshold=0.0, max_results=10, cache_control=NO_CACHE)
    enrolled = sorted(match.create_time.seconds for match in (await stub.SearchFace(everybody)).matches)
    newest = enrolled[-1]
    since = search(threshold=0.0, max_results=10, start_time=Timestamp(seconds=newest), cache_control=NO_CACHE)
    answer = await stub.SearchFace(since)
    assert answer.applied_parameters.start_time.seconds == newest
    assert [match.create_time.seconds for match in answer.matches] == [at for at in enrolled if at >= newest]
    assert answer.matches
    if newest < time.time() - 1:
        later = search(threshold=0.0, start_time=Timestamp(seconds=newest + 1), cache_control=NO_CACHE)
        assert (await stub.SearchFace(later)).outcome == pb.SEARCH_OUTCOME_NO_MATCH


async def test_a_face_set_that_the_vendor_does_not_have(stub: FaceSearchServiceAsyncStub) -> None:
    """It is in the tenant's list, but not there: an error for operators, not an empty answer."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.SearchFace(search(face_set="gone"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
