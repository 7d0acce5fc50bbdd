"""The vendor's answer, from bytes to `UpstreamAnswer` or an error. Pure: no connection, no clock.

Unknown fields are ignored; a needed field that is missing, mistyped or outside its range makes the whole answer
unusable, since a wrong match is worse than none. What can be read in one way only is read: a byte order mark in front, a
status in lower case, an id or a time as text, a time as a decimal number or not at all. What was not asked for is no wrong match: those under the threshold
are left out, and of too many the best are kept. Their order is mended too: the vendor's page does not promise one.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from typing import Any, Literal

import orjson

from gateway.errors import FaceSetUnusable, UpstreamBadResponse
from gateway.model import UNKNOWN_TIME, Match, Outcome, SearchParameters, UpstreamAnswer
from gateway.upstream.verdicts import by_code_alone, by_status

NoResult = Literal["ok", "error"]

MAX_REQUEST_ID_CHARS = 128

# The vendor compares in single precision at best: a score this much under the threshold is the threshold, rounded, and
# one this much above 1 is 1.
SCORE_ROUNDING = 1e-6

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_WORD = re.compile(r"[^\W_]+")

# The last second that a protobuf Timestamp can hold.
_LAST_SECOND = 253_402_300_799
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class _Mistyped(Exception):
    """A field that is not what the vendor's page says."""


def read_answer(
    code: int,
    body: bytes,
    asked: SearchParameters,
    *,
    no_result: NoResult,
    retry_after_seconds: float | None,
    now: float,
) -> UpstreamAnswer:
    """The answer to a search with the parameters `asked`; raises what it says instead.

    `code` is an HTTP code that does not decide by itself (see `verdicts.by_code`). `no_result` says what QUERY_FAILED
    with the reason "no result" is. `now` is wall-clock time.
    """
    try:
        document = orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise by_code_alone(code, "not_json")
    status = document.get("status")
    if not isinstance(status, str):
        raise by_code_alone(code, "schema_mismatch")
    known = status.upper()
    if known == "OK":
        # An error page, a part of an answer or a cache on the way may carry words of success. What is served, cached and
        # billed as an answer came with the code of one.
        if code != 200:
            raise by_code_alone(code, "unexpected_code")
        return _found(document, asked)
    if known == "QUERY_FAILED" and _says_no_result(document):
        if code not in (200, 400):
            raise by_code_alone(code, "unexpected_code")
        if no_result == "error":
            raise FaceSetUnusable("QUERY_FAILED")
        return UpstreamAnswer((), Outcome.NO_RESULT_REPORTED, _request_id(document))
    raise by_status(status, code, retry_after_seconds, now)


def _found(document: dict[str, Any], asked: SearchParameters) -> UpstreamAnswer:
    matches = None
    # Raised below, not in a handler: as its context it would carry the vendor's answer with it.
    with suppress(_Mistyped):
        matches = _matches(document.get("result"), asked)
    if matches is None:
        raise UpstreamBadResponse("schema_mismatch")
    return UpstreamAnswer(matches, Outcome.MATCHED if matches else Outcome.NO_MATCH, _request_id(document))


def _matches(result: object, asked: SearchParameters) -> tuple[Match, ...]:
    if not isinstance(result, list):
        raise _Mistyped
    found = [_match(element, asked.threshold) for element in result]
    if len({(match.person_id, match.face_id) for match in found}) != len(found):
        raise _Mistyped
    matches = [match for match in found if match.score >= asked.threshold]
    matches.sort(key=lambda match: -match.score)
    return tuple(matches[: asked.max_results])


def _match(element: object, threshold: float) -> Match:
    if not isinstance(element, dict):
        raise _Mistyped
    score = _number(element.get("score"))
    if not 0 <= score <= 1 + SCORE_ROUNDING:
        raise _Mistyped
    if threshold - SCORE_ROUNDING <= score < threshold:
        score = threshold
    return Match(
        person_id=_integer(element.get("person_id"), _INT64_MIN, _INT64_MAX),
        face_id=_integer(element.get("face_id"), _INT64_MIN, _INT64_MAX),
        score=min(score, 1.0),
        create_time=_create_time(element.get("create_time")),
    )


def _number(value: object) -> float:
    # `bool` is a kind of `int`, and no number here.
    if not isinstance(value, float | int) or isinstance(value, bool):
        raise _Mistyped
    return float(value)


def _integer(value: object, least: int, most: int) -> int:
    """A whole number, or one as text: some writers of JSON protect 64-bit ids so. A decimal number would be rounded."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise _Mistyped
    return value


def _create_time(value: object) -> int:
    """Whole seconds. A fraction makes no difference to any `start_time`, which is whole; an absent time is unknown."""
    if value is None:
        return UNKNOWN_TIME
    return _integer(math.floor(value) if isinstance(value, float) and math.isfinite(value) else value, 0, _LAST_SECOND)


def _says_no_result(document: dict[str, Any]) -> bool:
    """The page's only sample of a reason: the same two words, however they are written."""
    reason = document.get("reason")
    return isinstance(reason, str) and _WORD.findall(reason.casefold()) == ["no", "result"]


def _request_id(document: dict[str, Any]) -> str:
    """The vendor's id of the search, if it can be passed on and logged as it is; else nothing."""
    value = document.get("request_id")
    if isinstance(value, str) and len(value) <= MAX_REQUEST_ID_CHARS and value.isascii() and value.isprintable():
        return value
    return ""
