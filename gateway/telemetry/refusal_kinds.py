"""THE closed set of refusals: why the gateway did not do what it was sent.

Every refusal is counted under exactly one kind (`facegate_refusals_total`), whether or not it has a log line. A kind says
what was refused and never what the caller sent, so that it can be a label and stand in the audit stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RefusalKind(StrEnum):
    """What a refusal was for."""

    CREDENTIALS = "credentials"
    PERMISSION = "permission"
    UNKNOWN_METHOD = "unknown_method"
    INVALID_REQUEST = "invalid_request"
    RATE = "rate"
    CONCURRENCY = "concurrency"
    UPSTREAM_QUOTA = "upstream_quota"
    QUOTA_UNAVAILABLE = "quota_unavailable"
    DEADLINE_TOO_SHORT = "deadline_too_short"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    TENANT_SHARE = "tenant_share"
    CONNECTION_LIMIT = "connection_limit"
    BODY_LATE = "body_late"
    GONE_BEFORE_BODY = "gone_before_body"
    MESSAGE_TOO_LARGE = "message_too_large"
    COMPRESSED = "compressed"
    OPEN_MESSAGE_TOO_LARGE = "open_message_too_large"
    HEALTH_LIMIT = "health_limit"
    REFLECTION_LIMIT = "reflection_limit"
    FAULT = "fault"


KINDS: Mapping[RefusalKind, str] = {
    RefusalKind.CREDENTIALS: "no credentials, or credentials that are not valid",
    RefusalKind.PERMISSION: "a caller without a tenant, a face set that is not the tenant's, an operation without permission",
    RefusalKind.UNKNOWN_METHOD: "a method that the gateway does not serve",
    RefusalKind.INVALID_REQUEST: "a request or an image that breaks a rule; it did not go to the vendor",
    RefusalKind.RATE: "the tenant's rate",
    RefusalKind.CONCURRENCY: "the tenant's limit of concurrent calls",
    RefusalKind.UPSTREAM_QUOTA: "the tenant's limit of upstream calls in a window",
    RefusalKind.QUOTA_UNAVAILABLE: "the quota store is unavailable and the policy is `deny`",
    RefusalKind.DEADLINE_TOO_SHORT: "too little time is left for an upstream call",
    RefusalKind.OVERLOADED: "the gateway is at its capacity",
    RefusalKind.DRAINING: "the gateway is shutting down",
    RefusalKind.TENANT_SHARE: "the tenant is at its share of the gateway's capacity",
    RefusalKind.CONNECTION_LIMIT: "too many connections, or too much work on one connection",
    RefusalKind.BODY_LATE: "the request's body did not arrive in time",
    RefusalKind.GONE_BEFORE_BODY: "the caller left before its body arrived or before it was authenticated",
    RefusalKind.MESSAGE_TOO_LARGE: "a message beyond gRPC's limit",
    RefusalKind.COMPRESSED: "a compressed message, or an encoding that the gateway does not take",
    RefusalKind.OPEN_MESSAGE_TOO_LARGE: "a message to health or reflection that is too large",
    RefusalKind.HEALTH_LIMIT: "a limit of the health service",
    RefusalKind.REFLECTION_LIMIT: "a limit of the reflection service, or a method that it does not have",
    RefusalKind.FAULT: "a fault of the gateway before it knew the caller",
}
"""What each kind means, for the reference page."""

BY_REASON: Mapping[str, RefusalKind] = {
    "CREDENTIALS_INVALID": RefusalKind.CREDENTIALS,
    "TENANT_NOT_ALLOWED": RefusalKind.PERMISSION,
    "FACE_SET_NOT_ALLOWED": RefusalKind.PERMISSION,
    "OPERATION_NOT_ALLOWED": RefusalKind.PERMISSION,
    "NOT_IMPLEMENTED": RefusalKind.UNKNOWN_METHOD,
    "INVALID_REQUEST": RefusalKind.INVALID_REQUEST,
    "TENANT_RATE_LIMITED": RefusalKind.RATE,
    "TENANT_CONCURRENCY_EXCEEDED": RefusalKind.CONCURRENCY,
    "TENANT_QUOTA_EXCEEDED": RefusalKind.UPSTREAM_QUOTA,
    "QUOTA_UNAVAILABLE": RefusalKind.QUOTA_UNAVAILABLE,
    "DEADLINE_TOO_SHORT": RefusalKind.DEADLINE_TOO_SHORT,
    "GATEWAY_OVERLOADED": RefusalKind.OVERLOADED,
}
"""The kind of a call that ended with a published reason. Reasons that are not here are no refusals."""
