"""An answer as its caller gets it."""

from __future__ import annotations

from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import model

_OUTCOMES = {
    model.Outcome.MATCHED: pb.SEARCH_OUTCOME_MATCHED,
    model.Outcome.NO_MATCH: pb.SEARCH_OUTCOME_NO_MATCH,
    model.Outcome.NO_RESULT_REPORTED: pb.SEARCH_OUTCOME_NO_RESULT_REPORTED,
}
_CACHE_STATUSES = {
    model.CacheStatus.HIT: pb.CACHE_STATUS_HIT,
    model.CacheStatus.MISS: pb.CACHE_STATUS_MISS,
    model.CacheStatus.COALESCED: pb.CACHE_STATUS_COALESCED,
    model.CacheStatus.BYPASS: pb.CACHE_STATUS_BYPASS,
}


def encode_answer(answer: model.SearchAnswer, request_id: str, now: float) -> pb.SearchFaceResponse:
    """The response to one search; `request_id` is the call's own, `now` in seconds since 1970.

    Age and expiry are cut to milliseconds. An expiry that passed since the lookup is left out: the answer is no longer
    cached, and a caller that counts down to it never gets a negative time.
    """
    found = answer.answer
    parameters = answer.parameters
    expire_time = answer.expire_time
    return pb.SearchFaceResponse(
        matches=[
            pb.FaceMatch(
                person_id=match.person_id,
                face_id=match.face_id,
                score=match.score,
                create_time=Timestamp(seconds=match.create_time),
            )
            for match in found.matches
        ],
        outcome=_OUTCOMES[found.outcome],
        applied_parameters=pb.AppliedParameters(
            threshold=parameters.threshold,
            max_results=parameters.max_results,
            start_time=Timestamp(seconds=parameters.start_time),
        ),
        cache=pb.CacheInfo(
            status=_CACHE_STATUSES[answer.cache_status],
            age=_duration(answer.age_seconds),
            expire_time=None if expire_time is None or expire_time <= now else _timestamp(expire_time),
        ),
        quota_charge=pb.QuotaCharge(upstream_calls=answer.upstream_calls, degraded=answer.degraded),
        upstream_request_id=found.request_id,
        request_id=request_id,
    )


def _duration(seconds: float) -> Duration:
    # Never negative: a wall clock may have been set back since the answer was stored.
    whole, milliseconds = divmod(max(0, int(seconds * 1000)), 1000)
    return Duration(seconds=whole, nanos=milliseconds * 1_000_000)


def _timestamp(seconds: float) -> Timestamp:
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return Timestamp(seconds=whole, nanos=milliseconds * 1_000_000)
