"""Decoding a search: every rule that a comment of `face_search_service.proto` states."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime

import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.errors import ImageRejected, InvalidRequest
from gateway.model import CacheControl, CacheMode, Image, ImageFormat, Search, SearchParameters
from gateway.rpc.codec import decode_search, parse
from tests.support import images

NOW = datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC).timestamp()
SIX_MONTHS_AGO = int(datetime(2026, 5, 22, 12, 30, 15, tzinfo=UTC).timestamp())
EARLIEST_SENT = SIX_MONTHS_AGO + 3600
JPEG = images.jpeg()


def request(**fields: object) -> pb.SearchFaceRequest:
    """A good request, but for `fields`."""
    good: dict[str, object] = {"face_set": "employees", "image": pb.Image(content=JPEG)}
    return pb.SearchFaceRequest(**{**good, **fields})  # type: ignore[arg-type]


def decode(**fields: object) -> Search:
    """What a request that is good but for `fields` decodes to."""
    return decode_search(request(**fields), now=NOW)


def refusal(message: pb.SearchFaceRequest) -> InvalidRequest:
    """The error that `message` is refused with."""
    with pytest.raises(InvalidRequest) as refused:
        decode_search(message, now=NOW)
    return refused.value


def refused_fields(**fields: object) -> list[str]:
    """The paths that a request that is good but for `fields` is refused for, as a fault of the request."""
    error = refusal(request(**fields))
    assert type(error) is InvalidRequest
    return [violation.field for violation in error.violations]


def test_a_bare_request_gets_the_documented_defaults() -> None:
    """Absent means: threshold 0.8, one result, six months back less an hour, read and write the cache, any age."""
    assert decode() == Search(
        "employees",
        Image(JPEG, ImageFormat.JPEG, 320, 240),
        SearchParameters(threshold=0.8, max_results=1, start_time=EARLIEST_SENT),
        CacheControl(CacheMode.READ_WRITE, None),
    )


def test_every_field_is_carried_over() -> None:
    """What the caller sets is what is searched with."""
    start = EARLIEST_SENT + 12345
    search = decode(
        threshold=0.65,
        max_results=10,
        start_time=Timestamp(seconds=start),
        cache_control=pb.CacheControl(mode=pb.CACHE_MODE_BYPASS, max_age=Duration(seconds=7, nanos=500_000_000)),
    )
    assert search.parameters == SearchParameters(0.65, 10, start)
    assert search.cache_control == CacheControl(CacheMode.BYPASS, 7.5)


# --- face_set ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face_set", ["a", "0", "kyc-eu_1", "a" * 63, "9--__"])
def test_face_sets_of_the_pattern_are_taken(face_set: str) -> None:
    """`[a-z0-9]([a-z0-9_-]{0,62})`."""
    assert decode(face_set=face_set).face_set == face_set


@pytest.mark.parametrize(
    "face_set", ["", "A", "-a", "_a", "a b", "a" * 64, "ä", "a\n", "a\0", "٣", "a/b", "x" * 100_000]
)
def test_face_sets_off_the_pattern_are_refused_unquoted(face_set: str) -> None:
    """The whole string must match; the answer does not repeat what the caller sent."""
    error = refusal(request(face_set=face_set))
    assert [violation.field for violation in error.violations] == ["face_set"]
    assert len(error.violations[0].description) < 200


# --- threshold, max_results --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [0.0, 5e-324, 0.65, 1.0])
def test_threshold_is_0_to_1_and_an_explicit_0_is_0(threshold: float) -> None:
    """The ends are in; 0 is not mistaken for absent."""
    assert decode(threshold=threshold).parameters.threshold == threshold


def test_threshold_minus_zero_is_zero() -> None:
    """One number has one form."""
    assert math.copysign(1, decode(threshold=-0.0).parameters.threshold) == 1


@pytest.mark.parametrize(
    "threshold", [-5e-324, -1.0, 1.0000000000000002, 80.0, math.nan, -math.nan, math.inf, -math.inf]
)
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    """NaN and infinities too."""
    assert refused_fields(threshold=threshold) == ["threshold"]


@pytest.mark.parametrize("max_results", [1, 2, 10])
def test_max_results_is_1_to_10(max_results: int) -> None:
    """Both ends are in."""
    assert decode(max_results=max_results).parameters.max_results == max_results


@pytest.mark.parametrize("max_results", [0, -1, 11, 2**31 - 1, -(2**31)])
def test_max_results_out_of_range_is_refused(max_results: int) -> None:
    """An explicit 0 too."""
    assert refused_fields(max_results=max_results) == ["max_results"]


# --- start_time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [EARLIEST_SENT, EARLIEST_SENT + 1, int(NOW)])
def test_start_time_within_six_months_is_taken_as_it_is(seconds: int) -> None:
    """Up to this very second."""
    assert decode(start_time=Timestamp(seconds=seconds)).parameters.start_time == seconds


@pytest.mark.parametrize("seconds", [SIX_MONTHS_AGO, SIX_MONTHS_AGO + 1, EARLIEST_SENT - 1])
def test_start_time_in_the_first_hour_is_moved_to_its_end(seconds: int) -> None:
    """It keeps the rule, so it is taken; the vendor's clock might be ahead, so it is sent an hour inside."""
    assert decode(start_time=Timestamp(seconds=seconds)).parameters.start_time == EARLIEST_SENT


@pytest.mark.parametrize("seconds", [SIX_MONTHS_AGO - 1, 0, -1, -(2**63)])
def test_start_time_older_than_six_months_is_refused(seconds: int) -> None:
    """An explicit 1970 too."""
    error = refusal(request(start_time=Timestamp(seconds=seconds)))
    assert [(v.field, "older" in v.description) for v in error.violations] == [("start_time", True)]


@pytest.mark.parametrize("seconds", [int(NOW) + 1, 2**63 - 1])
def test_start_time_in_the_future_is_refused(seconds: int) -> None:
    """Even by a second."""
    error = refusal(request(start_time=Timestamp(seconds=seconds)))
    assert [(v.field, "future" in v.description) for v in error.violations] == [("start_time", True)]


@pytest.mark.parametrize("nanos", [1, -1, 999_999_999, 2**31 - 1])
def test_start_time_has_whole_seconds(nanos: int) -> None:
    """A fraction is refused rather than cut off."""
    assert refused_fields(start_time=Timestamp(seconds=int(NOW), nanos=nanos)) == ["start_time"]


# --- cache_control -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", pb.CacheMode.values())
def test_every_cache_mode_has_a_meaning(mode: pb.CacheMode.ValueType) -> None:
    """Unspecified is READ_WRITE; each other value of the enum is its namesake in the model."""
    name = pb.CacheMode.Name(mode).removeprefix("CACHE_MODE_")
    expected = CacheMode.READ_WRITE if name == "UNSPECIFIED" else CacheMode[name]
    assert decode(cache_control=pb.CacheControl(mode=mode)).cache_control == CacheControl(expected)


@pytest.mark.parametrize("mode", [5, -1, 2**31 - 1])
def test_unknown_cache_modes_are_refused(mode: int) -> None:
    """proto3 lets unknown numbers through; this gateway does not guess what they ask for."""
    assert refused_fields(cache_control=pb.CacheControl(mode=mode)) == ["cache_control.mode"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "nanos", "expected"), [(0, 0, 0.0), (0, 1, 1e-9), (315_576_000_000, 0, 315_576_000_000.0)]
)
def test_max_age_is_0_s_or_more(seconds: int, nanos: int, expected: float) -> None:
    """0 s is not mistaken for absent."""
    control = pb.CacheControl(max_age=Duration(seconds=seconds, nanos=nanos))
    assert decode(cache_control=control).cache_control.max_age_seconds == expected


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(-1, 0), (0, -1), (1, -1), (-1, 1), (0, 10**9), (1, 2**31 - 1), (315_576_000_001, 0), (2**63 - 1, 0)],
)
def test_invalid_max_ages_are_refused(seconds: int, nanos: int) -> None:
    """Negative ones, and Durations that are none: out of range, or nanos of another sign."""
    control = pb.CacheControl(max_age=Duration(seconds=seconds, nanos=nanos))
    assert refused_fields(cache_control=control) == ["cache_control.max_age"]


# --- image -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [JPEG, JPEG + b"\0", JPEG + b"\0\0", images.png()])
def test_both_forms_give_the_same_image(content: bytes) -> None:
    """base64 is decoded first: same bytes, whatever their padding."""
    text = base64.b64encode(content).decode()
    assert decode(image=pb.Image(base64=text)) == decode(image=pb.Image(content=content))


@pytest.mark.parametrize(
    ("image", "field"),
    [
        (None, "image"),
        (pb.Image(), "image"),
        (pb.Image(content=b""), "image.content"),
        (pb.Image(base64=""), "image.base64"),
    ],
)
def test_a_missing_image_is_a_fault_of_the_request(image: pb.Image | None, field: str) -> None:
    """No photo would do as long as none is sent."""
    assert refused_fields(image=image) == [field]


GOOD_TEXT = base64.b64encode(JPEG + b"\0" * (-len(JPEG) % 3 + 2)).decode()


@pytest.mark.parametrize(
    "text",
    [
        GOOD_TEXT.rstrip("="),
        GOOD_TEXT + "=",
        GOOD_TEXT + "====",
        "AAAA====",
        "====",
        GOOD_TEXT + "\n",
        "\n" + GOOD_TEXT[:-1],
        GOOD_TEXT[:76] + "\r\n\r\n" + GOOD_TEXT[76:],
        " " * 4 + GOOD_TEXT,
        GOOD_TEXT[:8] + "-_-_" + GOOD_TEXT[12:],
        GOOD_TEXT + GOOD_TEXT,
        "data:image/jpeg;base64," + GOOD_TEXT + "=",
        "é" * 8,
        "\0" * 8,
    ],
    ids=range(14),
)
def test_text_that_is_not_base64_is_a_fault_of_the_request(text: str) -> None:
    """Standard alphabet, exact padding, no white space: anything else is the caller's program, not the photo."""
    assert refused_fields(image=pb.Image(base64=text)) == ["image.base64"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (JPEG[:-2], "truncated"),
        (images.jpeg(127, 300), "127 x 300"),
        (images.encode(images.picture(), "GIF"), "GIF"),
        (b"\xff\xd8\xff" + bytes(5_242_880), "5,242,883"),
        (b"text", "neither"),
    ],
    ids=lambda value: value if isinstance(value, str) else len(value),
)
def test_a_bad_photo_alone_is_image_rejected_in_either_form(content: bytes, why: str) -> None:
    """IMAGE_REJECTED says: the request is right, take another photo."""
    for image in (pb.Image(content=content), pb.Image(base64=base64.b64encode(content).decode())):
        error = refusal(request(image=image))
        assert type(error) is ImageRejected
        (violation,) = error.violations
        assert violation.field == f"image.{image.WhichOneof('source')}"
        assert why in violation.description


def test_base64_over_the_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The length of the text tells the size: exactly the limit is decoded, one byte more is not."""
    decoded: list[int] = []

    def count(text: str, *, strict_mode: bool) -> bytes:
        decoded.append(len(text))
        return b"?"

    monkeypatch.setattr("gateway.rpc.codec.image.binascii.a2b_base64", count)
    limit = "A" * (5_242_880 // 3 * 4) + "AAA="
    refusal(request(image=pb.Image(base64=limit)))
    assert decoded == [len(limit)]
    error = refusal(request(image=pb.Image(base64=limit[:-1] + "A")))
    assert len(decoded) == 1
    assert "5,242,881" in error.violations[0].description


# --- All at once -------------------------------------------------------------------------------------------------


def test_all_violations_are_reported_at_once() -> None:
    """One answer lists everything that is wrong, and a bad photo among it does not make it IMAGE_REJECTED."""
    fields = refused_fields(
        face_set="NO",
        image=pb.Image(content=b"CANARY"),
        threshold=math.nan,
        max_results=0,
        start_time=Timestamp(seconds=2**40, nanos=1),
        cache_control=pb.CacheControl(mode=9, max_age=Duration(seconds=-1)),  # type: ignore[arg-type]
    )
    assert fields == [
        "face_set",
        "image.content",
        "threshold",
        "max_results",
        "start_time",
        "start_time",
        "cache_control.mode",
        "cache_control.max_age",
    ]


def test_an_error_repeats_neither_image_nor_strings() -> None:
    """What an error says can be logged and sent to anyone who sees the call."""
    error = refusal(request(face_set="CANARY!", image=pb.Image(base64="CANARY!")))
    assert "CANARY" not in str(error) + repr(error) + repr(error.violations)


# --- parse -------------------------------------------------------------------------------------------------------


def test_parse_gives_the_message_back() -> None:
    """What was encoded is what is parsed, of any message class."""
    for message in (request(threshold=0.5), pb.GetQuotaRequest(), pb.BulkSearchFacesRequest(correlation_id="1")):
        parsed: Message = parse(type(message), message.SerializeToString())
        assert parsed == message


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff", b"\x0b" * 300, b"CANARY"])
def test_junk_is_an_invalid_request_without_the_parsers_text(raw: bytes) -> None:
    """The violation says which message was expected, and no exception hangs on the error that could be printed."""
    with pytest.raises(InvalidRequest) as refused:
        parse(pb.SearchFaceRequest, raw)
    (violation,) = refused.value.violations
    assert "facegate.search.v1.SearchFaceRequest" in violation.description
    assert refused.value.__suppress_context__
