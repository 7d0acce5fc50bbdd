"""Decoding under random requests, held against a naive reading of the rules in the `.proto` file's comments."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from typing import TypeVar, cast

import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ImageRejected, InvalidRequest
from gateway.model import Search
from gateway.rpc.codec import decode_period, decode_search, parse
from tests.support import images

T = TypeVar("T")

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
NOWS = st.floats(datetime(2020, 1, 1, tzinfo=UTC).timestamp(), datetime(2090, 1, 1, tzinfo=UTC).timestamp())
GOOD_IMAGE = images.jpeg()


def six_months_before(now: float) -> datetime:
    """Naively: count the month back, then the day down until there is such a day."""
    time = datetime.fromtimestamp(int(now), UTC)
    year, month = (time.year, time.month - 6) if time.month > 6 else (time.year - 1, time.month + 6)
    for day in range(time.day, 0, -1):
        try:
            return time.replace(year=year, month=month, day=day)
        except ValueError:
            continue
    raise AssertionError("every month has a first day")


@dataclass
class Draft:
    """A request being drawn, and the paths of its violations by a naive reading: the photo's own apart."""

    request: pb.SearchFaceRequest = field(default_factory=pb.SearchFaceRequest)
    fields: list[str] = field(default_factory=list)
    image_fields: list[str] = field(default_factory=list)

    def expect(self, path: str, violated: object) -> None:
        """Notes `path` if its rule is violated."""
        self.fields += [path] if violated else []


def draw_face_set(draw: st.DrawFn, draft: Draft) -> None:
    """Any text, mostly near the pattern."""
    near = st.from_regex(r"[a-z0-9_-]{1,65}", fullmatch=True)
    draft.request.face_set = draw(st.just("employees") | near | st.text(max_size=5))
    first, rest = draft.request.face_set[:1], draft.request.face_set[1:]
    good = re.match("[a-z0-9]", first) and len(rest) <= 62 and all(re.match("[a-z0-9_-]", c) for c in rest)
    draft.expect("face_set", not good)


def draw_image(draw: st.DrawFn, draft: Draft) -> None:
    """Good, missing, empty, cut or no photo at all, in either form or in broken base64."""
    content = draw(st.sampled_from([GOOD_IMAGE, b"", b"x", GOOD_IMAGE[:-1], None]))
    if content is None:
        draft.expect("image", violated=True)
        return
    form = draw(st.sampled_from(["content", "base64", "base64 broken"]))
    path = f"image.{form.split()[0]}"
    if form == "content":
        draft.request.image.content = content
    else:
        draft.request.image.base64 = base64.b64encode(content).decode() + ("!" if "broken" in form else "")
    if "broken" in form or not content:
        draft.expect(path, violated=True)
    elif content != GOOD_IMAGE:
        draft.image_fields.append(path)


def draw_numbers(draw: st.DrawFn, draft: Draft) -> None:
    """Threshold and number of results: absent, in range or out of it."""
    request = draft.request
    if draw(st.booleans()):
        request.threshold = draw(st.floats() | st.floats(0, 1))
        draft.expect("threshold", math.isnan(request.threshold) or request.threshold < 0 or request.threshold > 1)
    if draw(st.booleans()):
        request.max_results = draw(INT32 | st.integers(-1, 12))
        draft.expect("max_results", request.max_results not in range(1, 11))


def draw_start_time(draw: st.DrawFn, draft: Draft, now: float) -> None:
    """Absent, near the ends of its range, within it or anywhere."""
    if draw(st.booleans()):
        start = draft.request.start_time
        oldest = int(six_months_before(now).timestamp())
        near = st.sampled_from([oldest - 1, oldest, oldest + 3600, int(now), int(now) + 1])
        start.seconds = draw(near | INT64 | st.integers(oldest, int(now)))
        start.nanos = draw(st.just(0) | INT32)
        draft.expect("start_time", start.nanos != 0)
        draft.expect("start_time", not oldest <= start.seconds <= now)


def draw_cache_control(draw: st.DrawFn, draft: Draft) -> None:
    """Known and unknown modes, with and without an age that may be no Duration."""
    if draw(st.booleans()):
        control = draft.request.cache_control
        control.mode = cast("pb.CacheMode.ValueType", draw(st.integers(0, 4) | INT32))
        draft.expect("cache_control.mode", control.mode not in pb.CacheMode.values())
        if draw(st.booleans()):
            age = control.max_age
            age.seconds = draw(st.integers(-2, 400) | INT64)
            age.nanos = draw(st.integers(-2, 999_999_999) | INT32)
            broken = min(age.seconds, age.nanos) < 0 or age.seconds > 315_576_000_000 or age.nanos > 999_999_999
            draft.expect("cache_control.max_age", broken)


@st.composite
def drafts(draw: st.DrawFn, now: float) -> Draft:
    """A random request, with each field absent, good or bad."""
    draft = Draft()
    draw_face_set(draw, draft)
    draw_image(draw, draft)
    draw_numbers(draw, draft)
    draw_start_time(draw, draft, now)
    draw_cache_control(draw, draft)
    return draft


def outcome(call: Callable[[], T]) -> T | InvalidRequest:
    """What `call` returns, or the one kind of error that it may raise."""
    try:
        return call()
    except InvalidRequest as error:
        return error


@given(st.data(), NOWS)
@settings(max_examples=400, deadline=None)
def test_violations_are_those_of_a_naive_reading(data: st.DataObject, now: float) -> None:
    """Exactly the broken rules are reported, all at once, and IMAGE_REJECTED only if the photo alone is at fault."""
    draft = data.draw(drafts(now))
    result = outcome(lambda: decode_search(draft.request, now=now))
    expected = sorted(draft.fields + draft.image_fields)
    if isinstance(result, InvalidRequest):
        assert sorted(violation.field for violation in result.violations) == expected
        assert isinstance(result, ImageRejected) == (not draft.fields)
    else:
        assert expected == []
        check(result, draft.request, now)


def check(search: Search, request: pb.SearchFaceRequest, now: float) -> None:
    """What was decoded is what was asked for, defaults and the margin of the start time included."""
    parameters = search.parameters
    assert search.face_set == request.face_set
    assert search.image.content == GOOD_IMAGE
    assert parameters.threshold == (request.threshold if request.HasField("threshold") else 0.8)
    assert parameters.max_results == (request.max_results or 1)
    earliest = int(six_months_before(now).timestamp()) + 3600
    assert parameters.start_time == max(earliest, request.start_time.seconds)
    assert search.cache_control.mode.name == (
        pb.CacheMode.Name(request.cache_control.mode or pb.CACHE_MODE_READ_WRITE).removeprefix("CACHE_MODE_")
    )
    if request.cache_control.HasField("max_age"):
        age = request.cache_control.max_age
        assert search.cache_control.max_age_seconds == pytest.approx(float(Fraction(age.nanos, 10**9) + age.seconds))
    else:
        assert search.cache_control.max_age_seconds is None


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bodies_are_parsed_and_decoded_or_refused(raw: bytes) -> None:
    """No body makes anything but the two domain errors."""
    for message_class in (pb.BulkSearchFacesRequest, pb.GetUsageRequest):
        outcome(partial(parse, message_class, raw))
    result = outcome(lambda: decode_search(parse(pb.SearchFaceRequest, raw), now=1_795_000_000.0))
    assert isinstance(result, InvalidRequest)
    assert result.violations


@given(st.text(alphabet="AB+/=-_ \n\0é", max_size=40))
@settings(max_examples=400, deadline=None)
def test_base64_is_exactly_that_of_the_rfc(text: str) -> None:
    """What is decoded is what the grammar of RFC 4648, section 4, allows; the rest is a fault of the request."""
    with pytest.raises(InvalidRequest) as refused:
        decode_search(pb.SearchFaceRequest(face_set="a", image=pb.Image(base64=text)), now=1_795_000_000.0)
    is_base64 = re.fullmatch(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text) and text
    assert isinstance(refused.value, ImageRejected) == bool(is_base64)


TIMES = st.none() | st.builds(
    Timestamp,
    seconds=st.integers(1_700_000_000, 1_800_000_000)
    | st.sampled_from(range(1_790_035_200, 1_800_000_000, 86_400))
    | INT64,
    nanos=st.just(0) | st.integers(0, 999_999_999) | INT32,
)


@given(TIMES, TIMES, st.floats(1_750_000_000, 1_800_000_000))
@settings(max_examples=400, deadline=None)
def test_periods_hold_exactly_the_days_that_they_touch(
    start: Timestamp | None, end: Timestamp | None, now: float
) -> None:
    """Held against exact fractions: the first day holds the start, the last one the last moment before the end."""
    given_times = [time for time in (start, end) if time is not None]
    valid = all(-62_135_596_800 <= t.seconds < 253_402_300_800 and 0 <= t.nanos < 10**9 for t in given_times)
    end_at = exact(end) if end is not None else Fraction(int(now * 10**9), 10**9)
    in_order = start is None or 0 < end_at - exact(start) <= 400 * 86_400

    result = outcome(lambda: decode_period(start, end, now=now))

    assert isinstance(result, InvalidRequest) == (not valid or not in_order)
    if isinstance(result, InvalidRequest):
        return
    first, after = result
    assert (after - 1) * 86_400 < end_at <= after * 86_400
    start_at = (int(end_at // 86_400) - 30) * 86_400 if start is None else exact(start)
    assert first * 86_400 <= start_at < (first + 1) * 86_400


def exact(time: Timestamp) -> Fraction:
    """Seconds since 1970."""
    return Fraction(time.nanos, 10**9) + time.seconds


def test_the_naive_six_months_are_right() -> None:
    """The model itself, at one month's end."""
    assert six_months_before(datetime(2028, 8, 31, tzinfo=UTC).timestamp()) == datetime(2028, 2, 29, tzinfo=UTC)


def test_durations_of_the_model_are_protobufs() -> None:
    """The limits in the naive reading are those at which protobuf's own code refuses."""
    Duration(seconds=315_576_000_000).ToJsonString()
    with pytest.raises(ValueError, match="must be in range"):
        Duration(seconds=315_576_000_001).ToJsonString()
