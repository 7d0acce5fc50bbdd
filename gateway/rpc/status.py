"""THE error table: which gRPC status and which details each domain error becomes.

No other file chooses the status of one of FaceGate's own errors. `docs/errors.md` is generated from here; a test compares
the table with the exception tree and with the published `ErrorReason`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from gateway import errors
from gateway.errors import GatewayError

DOMAIN = "facegate"
# gRPC fails trailers over 8 KB at random; half of that leaves room for the others.
MAX_STATUS_BYTES = 4096 - 512
MAX_RETRY_AFTER_SECONDS = 31 * 86400.0


@dataclass(frozen=True, slots=True)
class Row:
    """How one class of errors is answered.

    `retry_seconds`, if set, adds `RetryInfo` (the error's own delay goes first). `pushback` adds the trailer
    `grpc-retry-pushback-ms`, which governs the retries of stock stubs: `delay` tells them when, `once_sent` stops
    them if anything was sent to the vendor, and `after_retry` stops them only if the gateway has tried twice itself.
    """

    code: StatusCode
    detail: Callable[[GatewayError], Message] | None = None
    retry_seconds: float | None = None
    pushback: str = ""


def _bad_request(error: GatewayError) -> Message:
    assert isinstance(error, errors.InvalidRequest)
    detail: Message = BadRequest(
        field_violations=[
            BadRequest.FieldViolation(field=violation.field, description=violation.description)
            for violation in error.violations
        ]
    )
    return detail


def _tenant_quota(error: GatewayError) -> Message:
    assert isinstance(error, errors.QuotaExceeded)
    return _quota_failure(f"tenant:{error.tenant}", error.limit_id)


def _gateway_quota(_: GatewayError) -> Message:
    return _quota_failure("gateway", "upstream_quota")


# A tenant over its limits is refused again and again.
@lru_cache(maxsize=1024)
def _quota_failure(subject: str, description: str) -> Message:
    detail: Message = QuotaFailure(violations=[QuotaFailure.Violation(subject=subject, description=description)])
    return detail


def _face_set_precondition(_: GatewayError) -> Message:
    detail: Message = PreconditionFailure(
        violations=[
            PreconditionFailure.Violation(
                type="FACE_SET", subject="face_set", description="the upstream cannot search this face set"
            )
        ]
    )
    return detail


TABLE: dict[type[GatewayError], Row] = {
    errors.CredentialsInvalid: Row(StatusCode.UNAUTHENTICATED),
    errors.TenantNotAllowed: Row(StatusCode.PERMISSION_DENIED),
    errors.FaceSetNotAllowed: Row(StatusCode.PERMISSION_DENIED),
    errors.OperationNotAllowed: Row(StatusCode.PERMISSION_DENIED),
    errors.MethodNotImplemented: Row(StatusCode.UNIMPLEMENTED),
    errors.InvalidRequest: Row(StatusCode.INVALID_ARGUMENT, _bad_request),
    errors.ImageRejected: Row(StatusCode.INVALID_ARGUMENT, _bad_request),
    errors.TenantRateLimited: Row(StatusCode.RESOURCE_EXHAUSTED, _tenant_quota, retry_seconds=1.0),
    errors.TenantConcurrencyExceeded: Row(StatusCode.RESOURCE_EXHAUSTED, _tenant_quota, retry_seconds=1.0),
    errors.TenantQuotaExceeded: Row(StatusCode.RESOURCE_EXHAUSTED, _tenant_quota, retry_seconds=60.0),
    errors.GatewayOverloaded: Row(StatusCode.UNAVAILABLE, retry_seconds=1.0, pushback="delay"),
    errors.QuotaUnavailable: Row(StatusCode.UNAVAILABLE, retry_seconds=1.0),
    errors.DeadlineTooShort: Row(StatusCode.DEADLINE_EXCEEDED),
    errors.CacheMiss: Row(StatusCode.NOT_FOUND),
    errors.FaceSetUnusable: Row(StatusCode.FAILED_PRECONDITION, _face_set_precondition),
    errors.UpstreamUnavailable: Row(StatusCode.UNAVAILABLE, pushback="after_retry"),
    errors.UpstreamAccessMisconfigured: Row(StatusCode.INTERNAL),
    errors.UpstreamQuotaExhausted: Row(StatusCode.RESOURCE_EXHAUSTED, _gateway_quota, retry_seconds=3600.0),
    errors.UpstreamRateLimited: Row(StatusCode.UNAVAILABLE, retry_seconds=5.0, pushback="delay"),
    errors.UpstreamInternalError: Row(StatusCode.INTERNAL),
    errors.UpstreamTimeout: Row(StatusCode.UNAVAILABLE, pushback="once_sent"),
    errors.UpstreamBadResponse: Row(StatusCode.INTERNAL),
    errors.DeadlineExceeded: Row(StatusCode.DEADLINE_EXCEEDED),
    errors.Cancelled: Row(StatusCode.CANCELLED),
    errors.GatewayError: Row(StatusCode.INTERNAL),
}


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """An error as gRPC sends it: code, message, `google.rpc.Status`, and the further trailers."""

    code: StatusCode
    message: str
    status: Status
    trailers: tuple[tuple[str, str | bytes], ...]


def status_of(error: GatewayError, request_id: str) -> ErrorStatus:
    """The status, details and trailers of `error`, of at most 4 KiB in all."""
    row = TABLE[type(error)]
    info = ErrorInfo(reason=error.reason.value, domain=DOMAIN)
    info.metadata["request_id"] = request_id
    details: list[Message] = [info]
    if row.detail is not None:
        details.append(row.detail(error))
    delay = error.retry_after_seconds if error.retry_after_seconds is not None else row.retry_seconds
    if delay is not None:
        delay = min(max(delay, 0.0), MAX_RETRY_AFTER_SECONDS)
        details.append(_retry_info(delay))
    status = _bounded(row.code, error.message, details)
    trailers: tuple[tuple[str, str | bytes], ...] = (("grpc-status-details-bin", status.SerializeToString()),)
    pushback = _pushback(row, error, delay)
    if pushback is not None:
        trailers += (("grpc-retry-pushback-ms", str(pushback)),)
    return ErrorStatus(row.code, error.message, status, trailers)


def _pushback(row: Row, error: GatewayError, delay: float | None) -> int | None:
    if row.pushback and delay is not None:
        return math.ceil(delay * 1000)
    attempts = getattr(error, "attempts", 1)
    # What was never sent costs nothing a second time.
    if (row.pushback == "once_sent" and attempts) or (row.pushback == "after_retry" and attempts > 1):
        return -1
    return None


def _retry_info(seconds: float) -> Message:
    # Rounded up: whoever waits exactly so long must not come too early.
    whole, nanos = divmod(math.ceil(seconds * 1e9), 1_000_000_000)
    detail: Message = RetryInfo(retry_delay={"seconds": whole, "nanos": nanos})
    return detail


def _bounded(code: StatusCode, message: str, details: list[Message]) -> Status:
    """A status that fits; the last field violations go first, since the request's fields are listed in their order."""
    while True:
        # What `Any.Pack` does, which is Python and takes five times as long: refusals have to be cheap.
        packed = [AnyMessage(type_url=_type_url(d.DESCRIPTOR.full_name), value=d.SerializeToString()) for d in details]
        status = Status(code=code.value[0], message=message, details=packed)
        if status.ByteSize() + len(message) <= MAX_STATUS_BYTES:
            return status
        violations = next((d.field_violations for d in details if isinstance(d, BadRequest)), None)
        if not violations:
            return status
        del violations[-1]


def _type_url(full_name: str) -> str:
    return f"type.googleapis.com/{full_name}"
