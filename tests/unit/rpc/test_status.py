"""The error table is complete, and what it makes fits on the wire."""

from __future__ import annotations

import pytest
from facegate.search.v1.error_reason_pb2 import ErrorReason
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from grpc import StatusCode

from gateway import errors
from gateway.errors import FieldViolation, GatewayError, Reason
from gateway.rpc.status import TABLE, status_of

ABSTRACT = {errors.QuotaExceeded, errors.UpstreamFailure}


def leaves(root: type[GatewayError]) -> set[type[GatewayError]]:
    """All classes of the tree that are raised."""
    found = {root} - ABSTRACT
    for child in root.__subclasses__():
        found |= leaves(child)
    return found


def detail(answer: object, message_class: type) -> object:
    """The detail of a class, or None."""
    for packed in answer.status.details:  # type: ignore[attr-defined]
        message = message_class()
        if packed.Unpack(message):
            return message
    return None


def test_every_error_has_a_row_and_every_row_an_error() -> None:
    """An error without a row would end as a KeyError in the caller's face."""
    assert set(TABLE) == leaves(GatewayError)


def test_the_reasons_are_the_published_ones() -> None:
    """Callers switch on them: none may be missing on either side, and each belongs to exactly one class."""
    published = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 - no dict
    assert {reason.value for reason in Reason} == published
    assert sorted(error.reason for error in TABLE) == sorted(Reason)


def test_an_error_info_names_the_domain_the_reason_and_the_call() -> None:
    """So that a caller can switch on it, and report it."""
    info = detail(status_of(errors.CacheMiss(), "r1"), ErrorInfo)
    assert info == ErrorInfo(domain="facegate", reason="CACHE_MISS", metadata={"request_id": "r1"})


def test_all_violations_are_sent() -> None:
    """A caller mends a request in one go."""
    violations = (FieldViolation("threshold", "must be 0 to 1"), FieldViolation("max_results", "must be 1 to 10"))
    answer = status_of(errors.InvalidRequest(violations), "r1")
    assert [v.field for v in detail(answer, BadRequest).field_violations] == ["threshold", "max_results"]  # type: ignore[attr-defined]
    assert "threshold, max_results" in answer.message


def test_a_status_stays_under_4_kib() -> None:
    """gRPC fails larger trailers at random, so the last violations are left out."""
    violations = tuple(FieldViolation(f"field_{n}", "x" * 200) for n in range(100))
    answer = status_of(errors.InvalidRequest(violations), "r1")
    assert sum(len(key) + len(value) for key, value in answer.trailers) + len(answer.message) <= 4096
    assert detail(answer, BadRequest).field_violations[0].field == "field_0"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "pushback"),
    [
        (errors.GatewayOverloaded(), "1000"),
        (errors.UpstreamRateLimited("RATE_LIMIT_EXCEEDED", retry_after_seconds=2.0004), "2001"),
        (errors.UpstreamTimeout("read_timeout"), "-1"),
        (errors.UpstreamUnavailable("connect_error"), None),
        (errors.UpstreamUnavailable("breaker_open", retry_after_seconds=0.5), "500"),
        (errors.TenantRateLimited("kyc", "rate", retry_after_seconds=0.1), None),
    ],
)
def test_stock_stubs_are_told_when_to_retry(error: GatewayError, pushback: str | None) -> None:
    """`grpc-retry-pushback-ms` keeps retries of many stubs from adding up."""
    assert dict(status_of(error, "r1").trailers).get("grpc-retry-pushback-ms") == pushback


def test_stubs_do_not_repeat_what_the_gateway_has_tried_twice() -> None:
    """An own retry is followed by pushback -1."""
    error = errors.UpstreamUnavailable("connect_error")
    error.attempts = 2
    assert dict(status_of(error, "r1").trailers)["grpc-retry-pushback-ms"] == "-1"


def test_stubs_may_repeat_what_was_never_sent() -> None:
    """A connection that could not be made in time cost nothing: another try, at another replica, may be answered."""
    error = errors.UpstreamTimeout("connect_timeout")
    error.attempts = 0
    assert "grpc-retry-pushback-ms" not in dict(status_of(error, "r1").trailers)


def test_a_quota_error_names_the_limit_and_the_delay() -> None:
    """RetryInfo has the limit's own delay, not a default."""
    answer = status_of(errors.TenantQuotaExceeded("kyc", "upstream_calls_per_day", retry_after_seconds=90.5), "r1")
    assert answer.code is StatusCode.RESOURCE_EXHAUSTED
    assert detail(answer, RetryInfo).retry_delay.ToTimedelta().total_seconds() == 90.5  # type: ignore[attr-defined]
    late = status_of(errors.TenantRateLimited("kyc", "rate", retry_after_seconds=1.428_572), "r1")
    assert detail(late, RetryInfo).retry_delay.ToNanoseconds() >= 1_428_572_000  # type: ignore[attr-defined]
    violation = detail(answer, QuotaFailure).violations[0]  # type: ignore[attr-defined]
    assert (violation.subject, violation.description) == ("tenant:kyc", "upstream_calls_per_day")
