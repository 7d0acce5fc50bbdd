"""The vendor's answer is read strictly: a wrong match is worse than none."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, UpstreamBadResponse
from gateway.model import UNKNOWN_TIME, Outcome, SearchParameters, UpstreamAnswer
from gateway.upstream.wire import read_answer

ASKED = SearchParameters(threshold=0.8, max_results=3, start_time=1_690_000_000)
MATCH: dict[str, Any] = {"person_id": 1, "face_id": 2, "score": 0.9, "create_time": 1669077702}


def read(body: bytes, code: int = 200, asked: SearchParameters = ASKED) -> UpstreamAnswer:
    """The answer in `body`."""
    return read_answer(code, body, asked, no_result="ok", retry_after_seconds=None, now=0.0)


def answer(*matches: object, **others: object) -> bytes:
    """An OK answer."""
    return orjson.dumps({"status": "OK", "request_id": "TID1", "result": list(matches)} | others)


@pytest.mark.parametrize("field", MATCH)
@pytest.mark.parametrize("value", [None, "", "x", "1.5", "1e3", " 1", "٣", [], {}, True, "missing"])
def test_a_mistyped_field(field: str, value: object) -> None:
    """Each field of a match has a type, and all but its time are needed; a bool is no number."""
    match = MATCH | {field: value}
    if value == "missing":
        del match[field]
    if field == "create_time" and value in (None, "missing"):
        assert read(answer(match)).matches[0].create_time == UNKNOWN_TIME
        return
    with pytest.raises(UpstreamBadResponse, check=lambda error: error.upstream_status == "schema_mismatch"):
        read(answer(match))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("score", "NaN"),
        ("score", "Infinity"),
        ("score", "1e999"),
        ("score", "1.00001"),
        ("score", "-0.1"),
        ("person_id", "9223372036854775808"),
        ("person_id", "-9223372036854775809"),
        ("face_id", "18446744073709551616"),
        ("face_id", "1.0"),
        ("face_id", "1e3"),
        ("create_time", "-1"),
        ("create_time", "253402300800"),
        ("create_time", "-0.5"),
        ("create_time", "1669077702000.0"),
        ("create_time", "1e999"),
    ],
)
def test_a_value_out_of_range(field: str, text: str) -> None:
    """Numbers outside their range make the answer unusable."""
    body = answer(MATCH | {field: "HERE"}).replace(b'"HERE"', text.encode())
    with pytest.raises(UpstreamBadResponse):
        read(body)


@pytest.mark.parametrize(
    "body",
    [
        orjson.dumps({"status": "OK"}),
        orjson.dumps({"status": "OK", "result": None}),
        orjson.dumps({"status": "OK", "result": {}}),
        answer(1),
        answer(None),
        answer(MATCH, MATCH),
        orjson.dumps({"result": []}),
        orjson.dumps({"status": ["OK"], "result": []}),
        orjson.dumps({"status": " OK", "result": []}),
        b"\xef\xbb\xbf\xef\xbb\xbf" + answer(),
        answer().decode().encode("utf-16"),
        b"",
        b"null",
        b'"OK"',
        b'{"status": "OK", "result": []} trailing',
    ],
)
def test_an_answer_that_is_not_one(body: bytes) -> None:
    """No result, one match twice, no status, no JSON: not understood."""
    with pytest.raises(UpstreamBadResponse) as caught:
        read(body)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("field", "sent", "read_as"),
    [
        ("create_time", "1669077702.0", 1669077702),
        ("create_time", "1669077702.5", 1669077702),
        ("create_time", '"1669077702"', 1669077702),
        ("face_id", '"435449455488008194"', 435449455488008194),
        ("person_id", '"-9223372036854775808"', -(2**63)),
    ],
)
def test_what_can_be_read_in_one_way_only_is_read(field: str, sent: str, read_as: int) -> None:
    """Some writers of JSON send ids as text and times as decimal numbers."""
    body = answer(MATCH | {field: "HERE"}).replace(b'"HERE"', sent.encode())
    (match,) = read(body).matches
    assert getattr(match, field) == read_as
    assert type(getattr(match, field)) is int


def test_ids_as_text_are_within_the_same_range() -> None:
    """2^63 is no id, however it is written."""
    with pytest.raises(UpstreamBadResponse):
        read(answer(MATCH | {"face_id": "9223372036854775808"}))


def test_a_byte_order_mark_and_a_status_in_lower_case() -> None:
    """Neither changes what is said; the vendor's own clients compare without case."""
    assert read(b"\xef\xbb\xbf" + answer(MATCH)).matches
    assert read(answer(MATCH, status="ok")).matches
    with pytest.raises(GatewayError, check=lambda error: error.reason == "FACE_SET_UNUSABLE"):
        read(orjson.dumps({"status": "query_failed", "reason": "gone"}), 400)


def test_matches_are_sorted() -> None:
    """The most similar comes first, in whatever order the vendor sent them."""
    scores = [0.81, 1, 0.9]
    reply = read(answer(*[MATCH | {"face_id": n, "score": score} for n, score in enumerate(scores)]))
    assert [match.score for match in reply.matches] == [1.0, 0.9, 0.81]
    assert all(type(match.score) is float for match in reply.matches)


def test_one_person_with_several_faces() -> None:
    """A person may have several faces in a set."""
    assert len(read(answer(MATCH, MATCH | {"face_id": 3})).matches) == 2


@pytest.mark.parametrize(("sent", "score"), [(0.79999995, 0.8), (1.0000001, 1.0)])
def test_a_score_that_was_rounded(sent: float, score: float) -> None:
    """Single precision makes 0.79999995 of 0.8 and 1.0000001 of 1: callers never see what is out of their range."""
    assert read(answer(MATCH | {"score": sent})).matches[0].score == score


def test_matches_under_the_threshold_are_left_out() -> None:
    """A vendor that sends them all the same does no harm: they were not asked for."""
    reply = read(answer(MATCH | {"score": 0.5}, MATCH | {"face_id": 3}))
    assert [match.face_id for match in reply.matches] == [3]
    assert read(answer(MATCH | {"score": 0.5})).outcome is Outcome.NO_MATCH


def test_of_more_matches_than_asked_for_the_best_are_kept() -> None:
    """In whatever order they come."""
    scores = [0.81, 0.83, 0.82, 0.9]
    reply = read(answer(*[MATCH | {"face_id": n, "score": score} for n, score in enumerate(scores)]))
    assert [match.score for match in reply.matches] == [0.9, 0.83, 0.82]


def test_the_extremes_of_an_id() -> None:
    """Ids are signed 64-bit numbers, exactly."""
    reply = read(answer(MATCH | {"person_id": 2**63 - 1, "face_id": -(2**63)}))
    assert (reply.matches[0].person_id, reply.matches[0].face_id) == (2**63 - 1, -(2**63))


@pytest.mark.parametrize("value", [None, 7, "", "a\nb", "\x1b[31m", "é", "x" * 129])
def test_a_request_id_that_is_not_passed_on(value: object) -> None:
    """Only printable ASCII of at most 128 characters is kept."""
    assert read(answer(request_id=value)).request_id == ""


def test_a_request_id() -> None:
    """The vendor's id, up to its limit."""
    assert read(answer(request_id="T" * 128)).request_id == "T" * 128


NO_RESULT = orjson.dumps({"status": "QUERY_FAILED", "reason": "no result"})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (201, "UPSTREAM_BAD_RESPONSE"),
        (206, "UPSTREAM_BAD_RESPONSE"),
        (401, "UPSTREAM_ACCESS_MISCONFIGURED"),
        (403, "UPSTREAM_ACCESS_MISCONFIGURED"),
        (500, "UPSTREAM_ERROR"),
        (599, "UPSTREAM_ERROR"),
        (999, "UPSTREAM_BAD_RESPONSE"),
    ],
)
@pytest.mark.parametrize("body", [answer(), NO_RESULT], ids=["OK", "no result"])
def test_an_answer_needs_the_code_of_one(code: int, reason: str, body: bytes) -> None:
    """What a caller is served, and the cache keeps, came with HTTP 200; otherwise the code decides."""
    with pytest.raises(GatewayError, check=lambda error: error.reason == reason):
        read(body, code)


def test_ok_with_400_is_not_understood() -> None:
    """The vendor's page gives 400 to failures alone; only its "no result" comes with it."""
    with pytest.raises(GatewayError, check=lambda error: error.reason == "UPSTREAM_BAD_RESPONSE"):
        read(answer(), 400)
    assert read(NO_RESULT, 200).outcome is Outcome.NO_RESULT_REPORTED


@pytest.mark.parametrize("reason", ["no result", " No Result\n", "NO_RESULT", "no  result."])
def test_no_result(reason: str) -> None:
    """The page's reason, in any case and with any signs."""
    body = orjson.dumps({"status": "QUERY_FAILED", "reason": reason})
    assert read(body, 400).outcome is Outcome.NO_RESULT_REPORTED


@pytest.mark.parametrize("reason", [None, "", "no results", "face set not found", ["no result"]])
def test_another_reason(reason: object) -> None:
    """Anything else is a failure of the face set."""
    with pytest.raises(GatewayError, check=lambda error: error.reason == "FACE_SET_UNUSABLE"):
        read(orjson.dumps({"status": "QUERY_FAILED", "reason": reason}), 400)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["OK", "QUERY_FAILED"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "result", "reason", *MATCH]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 400, 401, 500]))
def test_any_json(document: object, code: int) -> None:
    """Whatever the vendor sends, an answer or an error of the table comes of it, and an answer keeps every promise."""
    try:
        reply = read(orjson.dumps(document), code)
    except GatewayError:
        return
    assert len(reply.matches) <= ASKED.max_results
    assert all(ASKED.threshold <= match.score <= 1 for match in reply.matches)


@given(st.binary(max_size=300), st.sampled_from([200, 400, 401, 500]))
def test_any_bytes(body: bytes, code: int) -> None:
    """Bytes that are no JSON are an error of the table."""
    with suppress(GatewayError):
        read(body, code)
