"""Calls that a tenant is not allowed are refused so cheaply that other tenants notice nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.abuse_stage import ATTACKER, abuse_stage, long_only, scaled
from tests.support.images import jpeg

SERVICE = "/facegate.search.v1.FaceSearchService/"
DAY = 86_400
NOW = 1_900_000_000
RATE_OF_ONE = {"limits": {"rate": {"per_second": 1}}}
PER_SECOND = 600
# A busy machine's share, on top of what the same callers saw without the flood.
# The suite that runs at every change must bear a busy machine.
SLACK_SECONDS = scaled(2.0, 0.1)

FLOODS = {
    "GetUsage of 400 days": (
        "GetUsage",
        pb.GetUsageRequest(start_time=Timestamp(seconds=NOW - 400 * DAY), end_time=Timestamp(seconds=NOW)),
    ),
    "searches with an invalid image": (
        "SearchFace",
        pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=b"no image" * 20)),
    ),
    "searches of a foreign face set": (
        "SearchFace",
        pb.SearchFaceRequest(face_set="visitors", image=pb.Image(content=jpeg())),
    ),
    "GetQuota": ("GetQuota", pb.GetQuotaRequest()),
}


SHORT = ("GetUsage of 400 days", "searches with an invalid image")


@pytest.mark.parametrize("flood", [pytest.param(name, marks=() if name in SHORT else long_only) for name in FLOODS])
@pytest.mark.timed
async def test_a_flood_beyond_the_rate_slows_nobody(tmp_path: Path, flood: str) -> None:
    """600 calls per second by a tenant that is allowed one: they count against a rate, whatever becomes of them."""
    method, request = FLOODS[flood]
    async with abuse_stage(tmp_path, attacker=RATE_OF_ONE) as stage, stage.honest() as caller:
        alone = await caller.search_for(scaled(1, 5))
        async with stage.attack(
            "floods.calls",
            path=SERVICE + method,
            body=request.SerializeToString().hex(),
            metadata=stage.bearer,
            per_second=PER_SECOND,
        ) as attack:
            outcomes = await caller.search_for(scaled(2, 10))
        stage.keep(f"{flood}, rate 1/s", attack, outcomes, f"alone p99 {alone.percentile(99) * 1e3:.0f} ms")

    # GetQuota has a rate of its own, see gateway/quota/reads.py.
    assert attack.ends["status 8"] > 0.5 * attack.ends.total()
    assert outcomes.all_ok
    assert outcomes.percentile(99) < alone.percentile(99) + SLACK_SECONDS


@pytest.mark.parametrize(("concurrency", "deadline_seconds"), [(2, 0.05), pytest.param(7, 0.25, marks=long_only)])
async def test_searches_that_callers_gave_up_hold_their_slots(
    tmp_path: Path, concurrency: int, deadline_seconds: float
) -> None:
    """A search that is at the vendor counts until it lands, whoever still waits for it. No deadline is announced."""
    vendor_seconds = 1.5
    limits = {"limits": {"concurrency": concurrency}}
    async with abuse_stage(tmp_path, attacker=limits, vendor_seconds=vendor_seconds) as stage, stage.honest() as caller:
        async with stage.load(
            ATTACKER, 60, image_bytes=20_000, deadline_seconds=deadline_seconds, announced=False
        ) as attack:
            outcomes = await caller.search_for(scaled(1.5, 8), per_second=2)
        highest = (await stage.vendor.stats())["highest_in_flight"]
        stage.keep(f"callers that give up, concurrency {concurrency}", attack, outcomes, f"{highest} at the vendor")

    assert outcomes.all_ok
    # The honest caller had at most this many there.
    assert highest - concurrency <= 4
