"""Which searches a cached answer serves, as callers see it: before a vendor that searches a face set by its page."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.model import Match, Outcome, SearchParameters, UpstreamAnswer, UpstreamQuery
from gateway.trip import Trip
from tests.support.clock import ManualClock
from tests.support.conditions import eventually
from tests.support.gateway import config_of, running
from tests.support.replicas import login, photo, request, tenant
from tests.support.upstream import FakeUpstream

NOW = int(ManualClock().now())
SCORES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
TIMES = tuple(NOW - days * 86_400 for days in (150, 100, 50, 10))
COUNTS = (1, 2, 3, 10)
HIT, MISS, BYPASSED = pb.CACHE_STATUS_HIT, pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_BYPASS


def best(faces: list[Match], asked: SearchParameters) -> list[Match]:
    """The answer by brute force."""
    found = [face for face in faces if face.score >= asked.threshold and face.create_time >= asked.start_time]
    return sorted(found, key=lambda face: (-face.score, face.face_id))[: asked.max_results]


def provable(asked: SearchParameters, answer: list[Match], wanted: SearchParameters) -> bool:
    """The contract's rule."""
    if wanted.threshold < asked.threshold or wanted.start_time < asked.start_time:
        return False
    enough = len(best(answer, wanted)) >= wanted.max_results
    return len(answer) < asked.max_results or enough or wanted.threshold > answer[-1].score


class SearchingUpstream(FakeUpstream):
    """Searches `faces`."""

    def __init__(self, faces: list[Match]) -> None:
        super().__init__()
        self.faces = faces

    async def search(self, query: UpstreamQuery, trip: Trip) -> UpstreamAnswer:
        await super().search(query, trip)
        matches = tuple(best(self.faces, query.parameters))
        return UpstreamAnswer(matches, Outcome.MATCHED if matches else Outcome.NO_MATCH, "TID")


@asynccontextmanager
async def serving(upstream: FakeUpstream, widen: str = "none") -> AsyncIterator[Any]:
    config = config_of(auth={"anonymous_tenant": None}, tenants=[tenant("kyc")], cache={"widen": widen})
    async with (
        running(config, upstream=upstream, clock=ManualClock()) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield FaceSearchServiceStub(channel).SearchFace


def question(asked: SearchParameters, mode: pb.CacheMode.ValueType = pb.CACHE_MODE_READ_WRITE) -> pb.SearchFaceRequest:
    start = Timestamp(seconds=asked.start_time)
    return request(photo(), mode, threshold=asked.threshold, max_results=asked.max_results, start_time=start)


@pytest.mark.parametrize("seed", range(12))
async def test_every_answer_is_what_a_search_would_give_and_no_hit_is_missed(seed: int) -> None:
    """Up to eight questions are remembered; each is a hit exactly if one of those before proves its answer."""
    draw = random.Random(seed)
    faces = [Match(n, 1000 + n, draw.choice(SCORES), draw.choice(TIMES)) for n in range(draw.randint(0, 9))]
    upstream, seen = SearchingUpstream(faces), Counter[Any]()
    known: list[tuple[SearchParameters, list[Match]]] = []
    async with serving(upstream) as search:
        while len(known) < 8 and sum(seen.values()) < 40:
            asked = SearchParameters(draw.choice((0.0, *SCORES)), draw.choice(COUNTS), draw.choice(TIMES))
            served = any(provable(before, answer, asked) for before, answer in known)
            answer = await search(question(asked), metadata=login("kyc"))
            assert answer.cache.status == (HIT if served else MISS)
            truth = best(faces, asked)
            assert [match.face_id for match in answer.matches] == [face.face_id for face in truth]
            found = pb.SEARCH_OUTCOME_MATCHED if truth else pb.SEARCH_OUTCOME_NO_MATCH
            assert answer.outcome == found
            applied = answer.applied_parameters
            assert SearchParameters(applied.threshold, applied.max_results, applied.start_time.seconds) == asked
            seen[answer.cache.status] += 1
            known += [] if served else [(asked, truth)]
    assert len(upstream.queries) == seen[MISS]


async def test_widened_one_search_serves_every_count() -> None:
    """The vendor is asked for ten; the caller gets what it asked for. A bypass keeps nothing, so it asks for no more."""
    faces = [Match(n, 1000 + n, 0.9, TIMES[0]) for n in range(12)]
    upstream = SearchingUpstream(faces)
    async with serving(upstream, "max_results") as search:
        for count, status in ((3, MISS), (1, HIT), (10, HIT)):
            answer = await search(question(SearchParameters(0.8, count, TIMES[0])), metadata=login("kyc"))
            assert (answer.cache.status, len(answer.matches)) == (status, count)
            assert answer.applied_parameters.max_results == count
        bypass = question(SearchParameters(0.8, 2, TIMES[0]), pb.CACHE_MODE_BYPASS)
        answer = await search(bypass, metadata=login("kyc"))
        assert (answer.cache.status, len(answer.matches)) == (BYPASSED, 2)
    assert [query.parameters.max_results for query in upstream.queries] == [10, 2]


async def test_widened_searches_at_once_share_a_call_whatever_their_count() -> None:
    """Each gets its own number of results."""
    upstream = SearchingUpstream([Match(n, 1000 + n, 0.9, TIMES[0]) for n in range(12)])
    upstream.hold.clear()
    async with serving(upstream, "max_results") as search:
        calls = [search(question(SearchParameters(0.8, count, TIMES[0])), metadata=login("kyc")) for count in COUNTS]
        await eventually(lambda: upstream.in_flight == 1, "a search is in flight")
        upstream.hold.set()
        answers = await asyncio.gather(*calls)
    assert [len(answer.matches) for answer in answers] == list(COUNTS)
    assert len(upstream.queries) == 1


async def test_unless_widened_the_vendor_is_asked_for_what_the_caller_asked() -> None:
    """No more personal data than wanted is fetched by default."""
    upstream = SearchingUpstream([Match(n, 1000 + n, 0.9, TIMES[0]) for n in range(12)])
    async with serving(upstream) as search:
        answer = await search(question(SearchParameters(0.8, 3, TIMES[0])), metadata=login("kyc"))
        assert len(answer.matches) == 3
    assert [query.parameters.max_results for query in upstream.queries] == [3]
