"""Everything that can go wrong with a call, as one tree of exceptions.

A class is one row of the error table in `docs/errors.md`; `rpc/status.py` maps each to its gRPC status. Messages are
written for callers: no host, no vendor text, no secret, no other tenant's data, no exception's text. What an operator
needs beyond that (`upstream_status`) is an enum value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """The published reasons: the values of `ErrorReason` without their prefix."""

    CREDENTIALS_INVALID = "CREDENTIALS_INVALID"
    TENANT_NOT_ALLOWED = "TENANT_NOT_ALLOWED"
    FACE_SET_NOT_ALLOWED = "FACE_SET_NOT_ALLOWED"
    OPERATION_NOT_ALLOWED = "OPERATION_NOT_ALLOWED"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    INVALID_REQUEST = "INVALID_REQUEST"
    IMAGE_REJECTED = "IMAGE_REJECTED"
    TENANT_RATE_LIMITED = "TENANT_RATE_LIMITED"
    TENANT_CONCURRENCY_EXCEEDED = "TENANT_CONCURRENCY_EXCEEDED"
    TENANT_QUOTA_EXCEEDED = "TENANT_QUOTA_EXCEEDED"
    GATEWAY_OVERLOADED = "GATEWAY_OVERLOADED"
    QUOTA_UNAVAILABLE = "QUOTA_UNAVAILABLE"
    DEADLINE_TOO_SHORT = "DEADLINE_TOO_SHORT"
    CACHE_MISS = "CACHE_MISS"
    FACE_SET_UNUSABLE = "FACE_SET_UNUSABLE"
    UPSTREAM_UNAVAILABLE = "UPSTREAM_UNAVAILABLE"
    UPSTREAM_ACCESS_MISCONFIGURED = "UPSTREAM_ACCESS_MISCONFIGURED"
    UPSTREAM_QUOTA_EXHAUSTED = "UPSTREAM_QUOTA_EXHAUSTED"
    UPSTREAM_RATE_LIMITED = "UPSTREAM_RATE_LIMITED"
    UPSTREAM_ERROR = "UPSTREAM_ERROR"
    UPSTREAM_TIMEOUT = "UPSTREAM_TIMEOUT"
    UPSTREAM_BAD_RESPONSE = "UPSTREAM_BAD_RESPONSE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CANCELLED = "CANCELLED"
    GATEWAY_ERROR = "GATEWAY_ERROR"


class GatewayError(Exception):
    """A call that failed for a known reason.

    `message` is safe for the caller. `retry_after_seconds`, where known, is when trying again can succeed.
    `billed` says whether the vendor bills a search that was sent and ended so.
    """

    reason: ClassVar[Reason] = Reason.GATEWAY_ERROR
    default_message: ClassVar[str] = "internal error"
    billed: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        self.message = message or self.default_message
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message)


# --- The caller's side -------------------------------------------------------------------------------------------


class CredentialsInvalid(GatewayError):
    """No credentials, bad ones, or two that disagree. The message never says which."""

    reason = Reason.CREDENTIALS_INVALID
    default_message = "valid credentials are required: send `authorization: Bearer <token>`"


class TenantNotAllowed(GatewayError):
    """A known caller that belongs to no tenant."""

    reason = Reason.TENANT_NOT_ALLOWED
    default_message = "the caller belongs to no tenant of this gateway"


class FaceSetNotAllowed(GatewayError):
    """A face set outside the tenant's list, whether it exists or not."""

    reason = Reason.FACE_SET_NOT_ALLOWED
    default_message = "the face set is not in the tenant's list; GetQuota lists the face sets that are"


class OperationNotAllowed(GatewayError):
    """A caller without the permission that the method needs."""

    reason = Reason.OPERATION_NOT_ALLOWED
    default_message = "the caller's role does not permit this method"


class MethodNotImplemented(GatewayError):
    """A method that this server does not have (yet)."""

    reason = Reason.NOT_IMPLEMENTED
    default_message = "this version of the gateway does not implement the method"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One broken rule: the field's path in the request, and what it must be. Never the value of an image."""

    field: str
    description: str


class InvalidRequest(GatewayError):
    """A request that breaks rules of its fields; all of them at once."""

    reason = Reason.INVALID_REQUEST
    default_message = "the request is invalid"

    def __init__(self, violations: tuple[FieldViolation, ...]) -> None:
        self.violations = violations
        fields = ", ".join(dict.fromkeys(v.field for v in violations if v.field))
        super().__init__(f"{self.default_message}: {fields}" if fields else self.default_message)


class ImageRejected(InvalidRequest):
    """Only the image is at fault, in the gateway's eyes or the vendor's. The vendor charges for its verdict."""

    reason = Reason.IMAGE_REJECTED
    default_message = "the image cannot be searched"
    billed = True

    def __init__(self, violations: tuple[FieldViolation, ...], *, upstream_status: str = "") -> None:
        """`upstream_status` is as in `UpstreamFailure`, and empty where the vendor was not asked."""
        self.upstream_status = upstream_status
        self.attempts = 1 if upstream_status else 0
        super().__init__(violations)


class CacheMiss(GatewayError):
    """ONLY_IF_CACHED, and the cache holds no answer."""

    reason = Reason.CACHE_MISS
    default_message = "the cache holds no answer to this search, and the call asked for a cached one only"


class DeadlineTooShort(GatewayError):
    """Too little of the caller's deadline is left for an upstream call."""

    reason = Reason.DEADLINE_TOO_SHORT
    default_message = "too little of the deadline is left for a search; call with a longer one"


class DeadlineExceeded(GatewayError):
    """The caller's deadline passed. A search that was sent goes on: its answer is cached, and it is charged."""

    reason = Reason.DEADLINE_EXCEEDED
    default_message = "the deadline passed"
    billed = True


class Cancelled(GatewayError):
    """The caller gave up."""

    reason = Reason.CANCELLED
    default_message = "the call was cancelled"
    billed = True


# --- The gateway's side ------------------------------------------------------------------------------------------


class QuotaExceeded(GatewayError):
    """A limit of the tenant refused the call. `limit_id` is the limit's published id, `tenant` the tenant's."""

    default_message = "a limit of the tenant is used up"

    def __init__(self, tenant: str, limit_id: str, *, retry_after_seconds: float | None = None) -> None:
        self.tenant = tenant
        self.limit_id = limit_id
        super().__init__(f"{self.default_message}: {limit_id}", retry_after_seconds=retry_after_seconds)


class TenantRateLimited(QuotaExceeded):
    """The tenant's rate of calls."""

    reason = Reason.TENANT_RATE_LIMITED
    default_message = "the tenant calls faster than its limit"


class TenantConcurrencyExceeded(QuotaExceeded):
    """The tenant's calls at once."""

    reason = Reason.TENANT_CONCURRENCY_EXCEEDED
    default_message = "the tenant has as many calls in flight as its limit"


class TenantQuotaExceeded(QuotaExceeded):
    """The tenant's upstream calls of a window."""

    reason = Reason.TENANT_QUOTA_EXCEEDED
    default_message = "the tenant's upstream calls are used up"


class QuotaUnavailable(GatewayError):
    """The quota store is out and the policy is to deny."""

    reason = Reason.QUOTA_UNAVAILABLE
    default_message = "quotas cannot be checked at the moment"


class GatewayOverloaded(GatewayError):
    """The gateway is full, its upstream pool is full, or it is draining."""

    reason = Reason.GATEWAY_OVERLOADED
    default_message = "the gateway is busy; try again on another connection"


# --- The vendor's side -------------------------------------------------------------------------------------------


class UpstreamFailure(GatewayError):
    """The vendor did not give an answer that can be used.

    `upstream_status` is the vendor's published status or a name for a transport fault (`connect_error`): an enum value
    for logs and metrics, never a text of the vendor's. `attempts` counts the requests, and is 0 if the vendor certainly
    read none of them.
    """

    def __init__(
        self,
        upstream_status: str,
        *,
        message: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.upstream_status = upstream_status
        self.attempts = 1
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class FaceSetUnusable(UpstreamFailure):
    """The vendor cannot search this face set."""

    reason = Reason.FACE_SET_UNUSABLE
    default_message = "the face set cannot be searched at the moment; an operator has to look at it"


class UpstreamUnavailable(UpstreamFailure):
    """The vendor could not be reached or failed in passing."""

    reason = Reason.UPSTREAM_UNAVAILABLE
    default_message = "the face search service cannot be reached"


class UpstreamAccessMisconfigured(UpstreamFailure):
    """The vendor refused the gateway's credentials or endpoint."""

    reason = Reason.UPSTREAM_ACCESS_MISCONFIGURED
    default_message = "the gateway's access to the face search service is misconfigured; its operators are alerted"


class UpstreamQuotaExhausted(UpstreamFailure):
    """The gateway's account with the vendor is used up."""

    reason = Reason.UPSTREAM_QUOTA_EXHAUSTED
    default_message = "the gateway's own quota with the face search service is used up"


class UpstreamRateLimited(UpstreamFailure):
    """The vendor throttles the gateway."""

    reason = Reason.UPSTREAM_RATE_LIMITED
    default_message = "the face search service throttles the gateway"


class UpstreamInternalError(UpstreamFailure):
    """The vendor reported an internal error."""

    reason = Reason.UPSTREAM_ERROR
    default_message = "the face search service failed"


class UpstreamTimeout(UpstreamFailure):
    """The vendor did not answer in time."""

    reason = Reason.UPSTREAM_TIMEOUT
    default_message = "the face search service did not answer in time"


class UpstreamBadResponse(UpstreamFailure):
    """The vendor's answer could not be understood."""

    reason = Reason.UPSTREAM_BAD_RESPONSE
    default_message = "the answer of the face search service could not be understood"
