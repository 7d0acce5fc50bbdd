"""Encoding an answer."""

from __future__ import annotations

import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.model import UNKNOWN_TIME, CacheStatus, Match, Outcome, SearchAnswer, SearchParameters, UpstreamAnswer
from gateway.rpc.codec import encode_answer

NOW = 1_700_000_000.0
PARAMETERS = SearchParameters(threshold=0.0, max_results=2, start_time=1_690_000_000)
NOTHING = UpstreamAnswer((), Outcome.NO_MATCH, "")


def test_every_field_is_carried_over() -> None:
    """Ids beyond 2^53 keep every digit, order is kept, times are whole seconds, an applied threshold of 0 is sent."""
    big = 2**63 - 1
    answer = SearchAnswer(
        UpstreamAnswer(
            (Match(1, big, 0.98, 1_669_077_702), Match(big, 2, 0.9, 0), Match(3, 4, 0.8, UNKNOWN_TIME)),
            Outcome.MATCHED,
            "TID1",
        ),
        PARAMETERS,
        CacheStatus.HIT,
        age_seconds=12.3456,
        expire_time=NOW + 287.5,
        upstream_calls=1,
        degraded=True,
    )
    assert encode_answer(answer, "call-1", NOW) == pb.SearchFaceResponse(
        matches=[
            pb.FaceMatch(person_id=1, face_id=big, score=0.98, create_time=Timestamp(seconds=1_669_077_702)),
            pb.FaceMatch(person_id=big, face_id=2, score=0.9, create_time=Timestamp()),
            pb.FaceMatch(person_id=3, face_id=4, score=0.8),
        ],
        outcome=pb.SEARCH_OUTCOME_MATCHED,
        applied_parameters=pb.AppliedParameters(
            threshold=0.0, max_results=2, start_time=Timestamp(seconds=1_690_000_000)
        ),
        cache=pb.CacheInfo(
            status=pb.CACHE_STATUS_HIT,
            age=Duration(seconds=12, nanos=345_000_000),
            expire_time=Timestamp(seconds=1_700_000_287, nanos=500_000_000),
        ),
        quota_charge=pb.QuotaCharge(upstream_calls=1, degraded=True),
        upstream_request_id="TID1",
        request_id="call-1",
    )


def test_a_new_search_has_age_0_and_no_expiry_if_it_is_not_cached() -> None:
    """Age is present and 0 s; expiry is absent, not 1970."""
    response = encode_answer(SearchAnswer(NOTHING, PARAMETERS, CacheStatus.BYPASS), "", NOW)
    assert response.cache.HasField("age")
    assert response.cache.age == Duration()
    assert not response.cache.HasField("expire_time")


def test_age_is_never_negative_and_expiry_never_past() -> None:
    """A clock that was set back, or an answer that expired on its way out, shows no impossible times."""
    answer = SearchAnswer(NOTHING, PARAMETERS, CacheStatus.HIT, age_seconds=-3.5, expire_time=NOW)
    response = encode_answer(answer, "", NOW)
    assert response.cache.age == Duration()
    assert not response.cache.HasField("expire_time")


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_its_namesake(outcome: Outcome) -> None:
    """The enums of model and protobuf agree by name."""
    response = encode_answer(SearchAnswer(UpstreamAnswer((), outcome, ""), PARAMETERS, CacheStatus.MISS), "", NOW)
    assert pb.SearchOutcome.Name(response.outcome) == f"SEARCH_OUTCOME_{outcome.name}"


@pytest.mark.parametrize("status", CacheStatus)
def test_every_cache_status_has_its_namesake(status: CacheStatus) -> None:
    """The enums of model and protobuf agree by name."""
    response = encode_answer(SearchAnswer(NOTHING, PARAMETERS, status), "", NOW)
    assert pb.CacheStatus.Name(response.cache.status) == f"CACHE_STATUS_{status.name}"
