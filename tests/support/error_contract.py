"""What callers were promised of each error, written down apart from the code that keeps the promise."""

from __future__ import annotations

from dataclasses import dataclass

from grpc import StatusCode

from gateway.rpc.status import TABLE
from tests.support.end_to_end import REQUEST_ID
from tests.support.gateway import Refusal

MAX_STATUS_BYTES = 4096


@dataclass(frozen=True)
class Promise:
    """The status of a reason and the details that come with it, besides `ErrorInfo`.

    `pushback`: `delay` equals `RetryInfo`, `never` is -1.
    """

    code: StatusCode
    details: frozenset[str] = frozenset()
    pushback: str = ""


def _promise(code: StatusCode, *details: str, pushback: str = "") -> Promise:
    return Promise(code, frozenset(details), pushback)


QUOTA = ("QuotaFailure", "RetryInfo")
PROMISES = {
    "CREDENTIALS_INVALID": _promise(StatusCode.UNAUTHENTICATED),
    "TENANT_NOT_ALLOWED": _promise(StatusCode.PERMISSION_DENIED),
    "FACE_SET_NOT_ALLOWED": _promise(StatusCode.PERMISSION_DENIED),
    "OPERATION_NOT_ALLOWED": _promise(StatusCode.PERMISSION_DENIED),
    "NOT_IMPLEMENTED": _promise(StatusCode.UNIMPLEMENTED),
    "INVALID_REQUEST": _promise(StatusCode.INVALID_ARGUMENT, "BadRequest"),
    "IMAGE_REJECTED": _promise(StatusCode.INVALID_ARGUMENT, "BadRequest"),
    "TENANT_RATE_LIMITED": _promise(StatusCode.RESOURCE_EXHAUSTED, *QUOTA),
    "TENANT_CONCURRENCY_EXCEEDED": _promise(StatusCode.RESOURCE_EXHAUSTED, *QUOTA),
    "TENANT_QUOTA_EXCEEDED": _promise(StatusCode.RESOURCE_EXHAUSTED, *QUOTA),
    "GATEWAY_OVERLOADED": _promise(StatusCode.UNAVAILABLE, "RetryInfo", pushback="delay"),
    "QUOTA_UNAVAILABLE": _promise(StatusCode.UNAVAILABLE, "RetryInfo"),
    "DEADLINE_TOO_SHORT": _promise(StatusCode.DEADLINE_EXCEEDED),
    "CACHE_MISS": _promise(StatusCode.NOT_FOUND),
    "FACE_SET_UNUSABLE": _promise(StatusCode.FAILED_PRECONDITION, "PreconditionFailure"),
    "UPSTREAM_UNAVAILABLE": _promise(StatusCode.UNAVAILABLE),
    "UPSTREAM_ACCESS_MISCONFIGURED": _promise(StatusCode.INTERNAL),
    "UPSTREAM_QUOTA_EXHAUSTED": _promise(StatusCode.RESOURCE_EXHAUSTED, *QUOTA),
    "UPSTREAM_RATE_LIMITED": _promise(StatusCode.UNAVAILABLE, "RetryInfo", pushback="delay"),
    "UPSTREAM_ERROR": _promise(StatusCode.INTERNAL),
    "UPSTREAM_TIMEOUT": _promise(StatusCode.UNAVAILABLE, pushback="never"),
    "UPSTREAM_BAD_RESPONSE": _promise(StatusCode.INTERNAL),
    "GATEWAY_ERROR": _promise(StatusCode.INTERNAL),
}
_TEXTS = {error.reason.value: error.default_message for error in TABLE}


def assert_kept(refused: Refusal, reason: str, *, attempts: int = 1, retry_after: bool = False) -> None:
    """Fails unless the caller got what it was promised.

    `attempts` is how often the gateway asked the vendor; `retry_after` says that the vendor named a delay.
    """
    promise = PROMISES[reason]
    assert (refused.reason, refused.code) == (reason, promise.code)
    assert refused.message.startswith(_TEXTS[reason])
    expected = promise.details | {"ErrorInfo"} | ({"RetryInfo"} if retry_after else set())
    assert set(refused.details) == expected
    info = refused.details["ErrorInfo"]
    assert (info.domain, dict(info.metadata)) == ("facegate", {"request_id": refused.trailers["x-request-id"]})
    assert refused.trailers["x-request-id"] == REQUEST_ID
    assert "total;dur=" in str(refused.trailers["server-timing"])
    status = refused.trailers["grpc-status-details-bin"]
    assert len(status) + len(refused.message) <= MAX_STATUS_BYTES
    pushback = refused.trailers.get("grpc-retry-pushback-ms")
    if promise.pushback == "delay" or retry_after:
        assert float(str(pushback)) / 1000 >= delay_of(refused) > 0
    elif promise.pushback == "never" or (promise.code is StatusCode.UNAVAILABLE and attempts > 1):
        assert pushback == "-1"
    else:
        assert pushback is None


def delay_of(refused: Refusal) -> float:
    """The seconds of `RetryInfo`."""
    return float(refused.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds())
