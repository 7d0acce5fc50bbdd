"""What the vendor's HTTP codes and statuses mean: the vendor's rows of the error table.

A code that a proxy may have made says all by itself (`by_code`), whatever the body; else the body's `status` decides,
on HTTP 200 too (`by_status`); else the code (`by_code_alone`). Pure; the texts of the vendor never get through.
"""

from __future__ import annotations

from gateway.errors import (
    FaceSetUnusable,
    FieldViolation,
    GatewayError,
    ImageRejected,
    UpstreamAccessMisconfigured,
    UpstreamBadResponse,
    UpstreamFailure,
    UpstreamInternalError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)

# Throttled without a Retry-After: what callers are told to wait. The vendor's limit is a frequency, so little is enough.
THROTTLED_SECONDS = 2.0

_DAY_SECONDS = 86_400.0

_BY_CODE: dict[int, tuple[type[UpstreamFailure], str]] = {
    404: (UpstreamAccessMisconfigured, "NOT_FOUND"),
    408: (UpstreamUnavailable, "http_408"),
    429: (UpstreamRateLimited, "http_429"),
    502: (UpstreamUnavailable, "http_502"),
    503: (UpstreamUnavailable, "http_503"),
    504: (UpstreamTimeout, "http_504"),
}

_BY_STATUS: dict[str, type[UpstreamFailure]] = {
    "QUERY_FAILED": FaceSetUnusable,
    "DOWNLOAD_ERROR": UpstreamUnavailable,
    "UNAUTHORIZED": UpstreamAccessMisconfigured,
    "KEY_EXPIRED": UpstreamAccessMisconfigured,
    "NO_PERMISSION": UpstreamAccessMisconfigured,
    "OUT_OF_QUOTA": UpstreamQuotaExhausted,
    "RATE_LIMIT_EXCEEDED": UpstreamRateLimited,
    "NOT_FOUND": UpstreamAccessMisconfigured,
    "INTERNAL_ERROR": UpstreamInternalError,
}


# What passes by itself, so that callers may be told when to come back. Anything else a Retry-After does not mend, and
# behind a time-out it says nothing: the call may have been worked on.
_PASSING = frozenset({UpstreamUnavailable, UpstreamRateLimited, UpstreamQuotaExhausted})


def by_code(code: int, retry_after: float | None) -> GatewayError | None:
    """The verdict of a code that decides alone, or None. `retry_after` in seconds."""
    if 300 <= code <= 399:
        return UpstreamBadResponse("redirect")
    if code == 413:
        return _image_rejected("http_413", "is too large for the face search service")
    if code not in _BY_CODE:
        return None
    kind, status = _BY_CODE[code]
    return _failure(kind, status, retry_after)


def by_status(status: str, code: int, retry_after: float | None, now: float) -> GatewayError:
    """The verdict of a body's `status` other than OK. `now` is wall-clock time (seconds since 1970)."""
    status = status.upper()
    if status == "INVALID_ARGUMENT":
        return _image_rejected(status, "the face search service cannot search this image")
    kind = _BY_STATUS.get(status)
    if kind is None:
        return by_code_alone(code, "unknown_status") if code in (401, 403) else UpstreamBadResponse("unknown_status")
    if kind is UpstreamQuotaExhausted:
        # The vendor's daily quota begins anew at midnight UTC.
        retry_after = _DAY_SECONDS - now % _DAY_SECONDS
    return _failure(kind, status, retry_after)


def by_code_alone(code: int, fault: str) -> GatewayError:
    """The verdict where the body says nothing; `fault` names why.

    401 and 403 are the gateway's access. 5xx is what the vendor's own page gives to INTERNAL_ERROR. Three statuses share
    400, so a bare 400 blames neither the image nor the face set: like any other code it is an answer not understood.
    """
    if code in (401, 403):
        return UpstreamAccessMisconfigured(f"http_{code}")
    if 500 <= code <= 599:
        return UpstreamInternalError("http_5xx")
    return UpstreamBadResponse(fault)


def _failure(kind: type[UpstreamFailure], status: str, retry_after: float | None) -> UpstreamFailure:
    if kind not in _PASSING:
        return kind(status)
    if kind is UpstreamRateLimited and retry_after is None:
        retry_after = THROTTLED_SECONDS
    return kind(status, retry_after_seconds=retry_after)


def _image_rejected(status: str, description: str) -> GatewayError:
    return ImageRejected((FieldViolation("image", description),), upstream_status=status)
