"""A search as a caller sent it, checked and with its defaults filled in."""

from __future__ import annotations

import re

from facegate.search.v1 import face_search_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import model
from gateway.rpc.codec.image import decode_image
from gateway.rpc.codec.lookback import earliest_sent, six_months_before
from gateway.rpc.codec.violations import Violations

_FACE_SET = re.compile(r"[a-z0-9]([a-z0-9_-]{0,62})")
_DEFAULT_THRESHOLD = 0.8
_DEFAULT_MAX_RESULTS = 1
_MAX_RESULTS = 10
# The range that protobuf gives a Duration: about 10,000 years.
_MAX_DURATION_SECONDS = 315_576_000_000
_NANOS = 1_000_000_000

_CACHE_MODES: dict[int, model.CacheMode] = {
    pb.CACHE_MODE_UNSPECIFIED: model.CacheMode.READ_WRITE,
    pb.CACHE_MODE_READ_WRITE: model.CacheMode.READ_WRITE,
    pb.CACHE_MODE_REFRESH: model.CacheMode.REFRESH,
    pb.CACHE_MODE_BYPASS: model.CacheMode.BYPASS,
    pb.CACHE_MODE_ONLY_IF_CACHED: model.CacheMode.ONLY_IF_CACHED,
}
_DEFAULT_CACHE_CONTROL = model.CacheControl()


def decode_search(request: pb.SearchFaceRequest, *, now: float) -> model.Search:
    """The search that `request` asks for; `now` in seconds since 1970.

    Raises, with all violations at once, `ImageRejected` if only the photo is at fault (format, pixels, size,
    truncation), so that another photo would do; else `InvalidRequest`, also for a missing image and for text that is
    not base64.
    """
    violations = Violations()
    face_set = request.face_set
    if not _FACE_SET.fullmatch(face_set):
        violations.add(
            "face_set",
            "must be an alias of 1 to 63 characters that matches [a-z0-9]([a-z0-9_-]{0,62}); GetQuota lists them",
        )
    image = decode_image(request, violations)
    parameters = model.SearchParameters(
        _threshold(request.threshold, violations) if request.HasField("threshold") else _DEFAULT_THRESHOLD,
        _max_results(request.max_results, violations) if request.HasField("max_results") else _DEFAULT_MAX_RESULTS,
        _start_time(request.start_time, violations, now) if request.HasField("start_time") else earliest_sent(now),
    )
    cache_control = _DEFAULT_CACHE_CONTROL
    if request.HasField("cache_control"):
        cache_control = _cache_control(request.cache_control, violations)
    violations.raise_any()
    assert image is not None
    return model.Search(face_set, image, parameters, cache_control)


def _threshold(threshold: float, violations: Violations) -> float:
    # False for NaN too.
    if not 0.0 <= threshold <= 1.0:
        violations.add("threshold", f"is {threshold:g}; it must be 0 to 1")
    # -0.0 becomes 0.0: one number, one form for the cache and the vendor.
    return threshold + 0.0


def _max_results(max_results: int, violations: Violations) -> int:
    if not 1 <= max_results <= _MAX_RESULTS:
        violations.add("max_results", f"is {max_results}; it must be 1 to {_MAX_RESULTS}, or absent for 1")
    return max_results


def _start_time(start_time: Timestamp, violations: Violations, now: float) -> int:
    """Whole seconds since 1970, never before `earliest_sent`.

    What is in the first hour of the six months is moved to that hour's end, not refused: the caller kept to the rule,
    and the vendor's clock must not turn its search into an error. The answer's applied parameters say so.
    """
    seconds, nanos = start_time.seconds, start_time.nanos
    if nanos:
        violations.add("start_time", "must be in whole seconds: set nanos to 0")
    if seconds > now:
        violations.add("start_time", "must not be in the future: check the clock, or leave it out for 6 months ago")
    elif seconds < six_months_before(now):
        violations.add("start_time", "must not be older than 6 months: leave it out for the earliest time")
    return max(seconds, earliest_sent(now))


def _cache_control(control: pb.CacheControl, violations: Violations) -> model.CacheControl:
    mode = _CACHE_MODES.get(control.mode)
    if mode is None:
        violations.add("cache_control.mode", f"is {control.mode}, which is not a CacheMode")
        mode = model.CacheMode.READ_WRITE
    max_age = _max_age(control.max_age, violations) if control.HasField("max_age") else None
    return model.CacheControl(mode, max_age)


def _max_age(duration: Duration, violations: Violations) -> float:
    seconds, nanos = duration.seconds, duration.nanos
    if not (0 <= seconds <= _MAX_DURATION_SECONDS and 0 <= nanos < _NANOS):
        violations.add(
            "cache_control.max_age",
            "must be 0 s or more, and a valid Duration: seconds at most 315,576,000,000, nanos 0 to 999,999,999",
        )
    return seconds + nanos / _NANOS
