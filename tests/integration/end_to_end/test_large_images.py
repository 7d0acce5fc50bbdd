"""The largest photos that callers may send, many at once: none fails, and memory stays within its bound."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.sandbox.server import SANDBOX_API_ID, SANDBOX_API_SECRET
from tests.support.gateway_process import gateway_process
from tests.support.images import jpeg, jpeg_with_segments, segment
from tests.support.sandbox_process import sandbox_process

if TYPE_CHECKING:
    from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceAsyncStub

log = logging.getLogger(__name__)

AT_ONCE = 64
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
MAX_IMAGE_BYTES = 5_242_880
MAX_PEAK_MIB = 900
SECONDS = 240


def large_photo(number: int) -> bytes:
    """A photo of very nearly 5 MiB, unlike every other number's: a small one with long comments."""
    small, comment = jpeg(), 65_000
    whole, rest = divmod(MAX_IMAGE_BYTES - len(small) - 100, comment + 4)
    comments = [segment(0xFE, bytes([number]) * comment) for _ in range(whole)]
    return jpeg_with_segments(small, *comments, segment(0xFE, bytes(rest)))


@pytest.mark.parametrize("form", ["content", "base64"])
async def test_sixty_four_large_photos_at_once(form: str, tmp_path: Path) -> None:
    """64 calls with 5 MB each, as bytes or as base64, while the vendor takes 200 ms: under 900 MiB, and none fails."""
    async with sandbox_process() as vendor:
        pair = {"name": "primary", "api_id_env": "E2E_ID", "api_secret_env": "E2E_SECRET"}
        settings = {
            "upstream": {"base_url": vendor.url, "credentials": [pair], "timeout_seconds": SECONDS},
            "auth": {"anonymous_tenant": "kyc"},
            "tenants": [{"id": "kyc", "face_sets": {"staff": "visitors"}}],
        }
        await vendor.fault(kind="latency", latency_seconds=0.2)
        async with (
            gateway_process(tmp_path, settings, E2E_ID=SANDBOX_API_ID, E2E_SECRET=SANDBOX_API_SECRET) as gateway,
            grpc.aio.insecure_channel(gateway.address, OWN_CONNECTION) as first,
            grpc.aio.insecure_channel(gateway.address, OWN_CONNECTION) as second,
        ):
            # gRPC refuses streams beyond a connection's 64, those just ended included.
            stubs: list[FaceSearchServiceAsyncStub] = [FaceSearchServiceStub(first), FaceSearchServiceStub(second)]

            async def search(number: int) -> pb.SearchFaceResponse:
                photo = large_photo(number)
                image = (
                    pb.Image(content=photo) if form == "content" else pb.Image(base64=base64.b64encode(photo).decode())
                )
                return await stubs[number % 2].SearchFace(
                    pb.SearchFaceRequest(face_set="staff", image=image), timeout=SECONDS
                )

            answers = await asyncio.gather(*(search(number) for number in range(AT_ONCE)))
            assert {answer.outcome for answer in answers} == {pb.SEARCH_OUTCOME_NO_MATCH}
            stats = await vendor.stats()
            assert stats["calls"] == AT_ONCE
            assert stats["bytes_received"] > AT_ONCE * (MAX_IMAGE_BYTES - 1000)
            peak = gateway.peak_memory_mib()
            log.info("peak %.0f MiB, at most %d at the vendor", peak, stats["highest_in_flight"])
            assert peak < MAX_PEAK_MIB
