"""Refusals: each is counted under one kind, floods are summed, and no caller writes another's audit events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.auth.authorizer import Permission
from gateway.errors import Reason
from gateway.rpc.policy import POLICY
from gateway.telemetry.audit import SEARCHES
from gateway.telemetry.record import CallRecord
from gateway.telemetry.refusal_kinds import BY_REASON, KINDS, RefusalKind
from gateway.telemetry.refusals import STRANGER_LINES, SUMMARY_SECONDS, TENANT_LINES, kind_of
from gateway.telemetry.setup import Telemetry
from tests.support.clock import ManualClock
from tests.support.logs import CaughtLogs, caught_logs

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
HONEST_ID = "an-id-of-an-honest-call"


class Scene:
    """Telemetry by a clock that stands still, and what it logs."""

    def __init__(self, logs: CaughtLogs) -> None:
        self.clock = ManualClock()
        self.logs = logs
        self.telemetry = Telemetry(POLICY.keys(), ["kyc", "noisy"], self.clock)

    def end(self, calls: int = 1, *, method: str = METHOD, tenant: str = "", reason: str = "", code: str = "") -> None:
        """Calls that end alike, as the interceptor around every call hands them over."""
        for _ in range(calls):
            record = CallRecord(method, HONEST_ID, 0.0, tenant=tenant, reason=reason, code=code)
            record.finish(0.001)
            self.telemetry.calls._tell(record, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

    def counted(self) -> dict[str, float]:
        """The counts that are not 0, by kind."""
        return {kind: count for (kind,), count in self.telemetry.refusals.counter.values.items() if count}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Telemetry with logs."""
    with caught_logs(tmp_path) as logs:
        yield Scene(logs)


# Reasons that are no refusals of the gateway's: its own faults, the vendor's verdicts and callers that left.
NO_REFUSALS = {
    "CACHE_MISS",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "FACE_SET_UNUSABLE",
    "GATEWAY_ERROR",
    "IMAGE_REJECTED",
}


def test_every_reason_is_a_kind_or_no_refusal() -> None:
    """A new reason has to be put on one side; every kind has a meaning."""
    reasons = {reason.value for reason in Reason if not reason.value.startswith("UPSTREAM_")}
    assert set(BY_REASON) | NO_REFUSALS == reasons
    assert not BY_REASON.keys() & NO_REFUSALS
    assert set(KINDS) == set(RefusalKind)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"reason": "CREDENTIALS_INVALID", "code": "UNAUTHENTICATED"}, RefusalKind.CREDENTIALS),
        ({"reason": "NOT_IMPLEMENTED", "code": "UNIMPLEMENTED"}, RefusalKind.UNKNOWN_METHOD),
        ({"tenant": "kyc", "reason": "TENANT_RATE_LIMITED"}, RefusalKind.RATE),
        ({"tenant": "kyc", "reason": "GATEWAY_OVERLOADED"}, RefusalKind.OVERLOADED),
        (
            {"tenant": "kyc", "reason": "GATEWAY_OVERLOADED", "refusal": RefusalKind.TENANT_SHARE},
            RefusalKind.TENANT_SHARE,
        ),
        ({"tenant": "kyc", "reason": "DEADLINE_EXCEEDED", "refusal": RefusalKind.BODY_LATE}, RefusalKind.BODY_LATE),
        # The gateway looked at the image itself, or the vendor did.
        ({"tenant": "kyc", "reason": "IMAGE_REJECTED"}, RefusalKind.INVALID_REQUEST),
        ({"tenant": "kyc", "reason": "IMAGE_REJECTED", "upstream_status": "INVALID_ARGUMENT"}, None),
        ({"tenant": "kyc", "reason": "CANCELLED", "code": "CANCELLED"}, None),
        ({"tenant": "kyc", "reason": "UPSTREAM_TIMEOUT", "code": "UNAVAILABLE"}, None),
        ({"tenant": "kyc"}, None),
        # Whoever is not authenticated has been refused, however it ended.
        ({"reason": "CANCELLED", "code": "CANCELLED"}, RefusalKind.GONE_BEFORE_BODY),
        ({"reason": "GATEWAY_ERROR", "code": "INTERNAL"}, RefusalKind.FAULT),
    ],
)
def test_the_kind_of_a_call(fields: dict[str, str], kind: RefusalKind | None) -> None:
    """By what the interceptor set, else by the published reason."""
    record = CallRecord(METHOD, "r", 0.0)
    for name, value in fields.items():
        setattr(record, name, value)
    assert kind_of(record) is kind


def test_audited_searches_are_those_of_the_policy() -> None:
    """By their whole path."""
    assert {path for path, needs in POLICY.items() if needs is Permission.SEARCH} == SEARCHES


def test_a_stranger_forges_no_search_and_no_request_id(scene: Scene) -> None:
    """`/evil/SearchFace`, and a real path without credentials: refused, under a kind, by an id that the gateway chose."""
    scene.end(method="/evil/SearchFace", reason="NOT_IMPLEMENTED", code="UNIMPLEMENTED")
    scene.end(reason="CREDENTIALS_INVALID", code="UNAUTHENTICATED")
    scene.end(method="/evil/SearchFace", tenant="kyc", reason="NOT_IMPLEMENTED", code="UNIMPLEMENTED")
    scene.logs.output.close()
    assert not scene.logs.lines("audit.search")
    unknown, stranger, known = scene.logs.lines("audit.refused")[-2:] + scene.logs.lines("audit.refused")[:1]
    assert (unknown["method"], unknown["kind"], unknown["decision"]) == ("other", "unknown_method", "refused")
    assert (stranger["method"], stranger["kind"]) == (METHOD, "credentials")
    # The event of an authenticated caller is written first, and keeps the id that it chose.
    assert (known["tenant"], known["request_id"]) == ("kyc", HONEST_ID)
    ended = {line["trace_id"] for line in scene.logs.lines("rpc.ended") if not line["tenant"]}
    assert {unknown["request_id"], stranger["request_id"]} == ended
    assert "evil" not in scene.logs.text
    assert HONEST_ID not in {unknown["request_id"], stranger["request_id"]}


def test_the_answer_of_an_authenticated_search_is_audited(scene: Scene) -> None:
    """What was let through is a search, however it ended; another RPC is none."""
    scene.end(tenant="kyc")
    scene.end(tenant="kyc", reason="UPSTREAM_TIMEOUT", code="UNAVAILABLE")
    scene.end(tenant="kyc", method="/facegate.search.v1.FaceSearchService/GetQuota")
    scene.logs.output.close()
    events = [line for line in scene.logs.lines() if line.get("stream") == "audit"]
    assert [(line["event"], line["code"]) for line in events] == [
        ("audit.search", "OK"),
        ("audit.search", "UNAVAILABLE"),
    ]


def test_a_flood_of_strangers_has_few_lines_and_one_sum(scene: Scene) -> None:
    """The first of each second in full; the rest is one event per kind and period. Nothing is left uncounted."""
    for _ in range(int(SUMMARY_SECONDS)):
        scene.end(300, reason="CREDENTIALS_INVALID", code="UNAUTHENTICATED")
        scene.end(100, method="/made/Up", reason="NOT_IMPLEMENTED", code="UNIMPLEMENTED")
        scene.clock.advance(1.0)
        scene.telemetry.each_second()
    scene.logs.output.close()
    in_full = STRANGER_LINES * int(SUMMARY_SECONDS)
    sums = {line["kind"]: (line["refusals"], line["left_out"]) for line in scene.logs.lines("audit.refusals")}
    assert sums == {"credentials": (3000, 3000 - in_full), "unknown_method": (1000, 1000 - in_full)}
    assert len(scene.logs.lines("audit.refused")) == len(scene.logs.lines("rpc.ended")) == 2 * in_full
    assert scene.counted() == {"credentials": 3000, "unknown_method": 1000}


def test_a_tenants_flood_leaves_the_lines_of_others(scene: Scene) -> None:
    """Refusals of each tenant are sampled apart, and searches that were let through never are."""
    scene.end(1000, tenant="noisy", reason="TENANT_RATE_LIMITED", code="RESOURCE_EXHAUSTED")
    scene.end(3, tenant="kyc", reason="TENANT_RATE_LIMITED", code="RESOURCE_EXHAUSTED")
    scene.end(200, tenant="noisy")
    scene.telemetry.refusals.sum()
    scene.logs.output.close()
    refused = [line["tenant"] for line in scene.logs.lines("audit.refused")]
    assert (refused.count("noisy"), refused.count("kyc")) == (TENANT_LINES, 3)
    assert len(scene.logs.lines("audit.search")) == 200
    (summed,) = scene.logs.lines("audit.refusals")
    assert (summed["tenant"], summed["kind"], summed["left_out"]) == ("noisy", "rate", 1000 - TENANT_LINES)


def test_a_refusal_that_is_no_call_is_counted_and_summed(scene: Scene) -> None:
    """A limit of the health service has no record and no line; the period's event says how often it was met."""
    for _ in range(7):
        scene.telemetry.refusals.count(RefusalKind.HEALTH_LIMIT)
    scene.telemetry.refusals.count(RefusalKind.BODY_LATE, "kyc")
    scene.clock.advance(SUMMARY_SECONDS - 0.1)
    scene.telemetry.each_second()
    scene.clock.advance(0.2)
    scene.telemetry.each_second()
    scene.telemetry.each_second()
    scene.logs.output.close()
    sums = [(line["kind"], line["tenant"], line["left_out"]) for line in scene.logs.lines("audit.refusals")]
    assert sums == [("health_limit", "", 7), ("body_late", "kyc", 1)]
    scene.telemetry.open_calls.add(("health_check",))
    page = scene.telemetry.exposition()
    assert 'facegate_open_calls_total{call="health_check"} 1\n' in page
    assert 'facegate_open_calls_total{call="reflection"} 0\n' in page
    assert 'facegate_refusals_total{kind="health_limit"} 7\n' in page
    # What an alert counts begins at 0.
    assert 'facegate_refusals_total{kind="connection_limit"} 0\n' in page


def test_an_item_of_a_stream_is_counted_like_a_call(scene: Scene) -> None:
    """It has no line of its own, but an audit event."""
    item = CallRecord(METHOD, HONEST_ID, 0.0, tenant="kyc", reason="TENANT_QUOTA_EXCEEDED", trace_id=7)
    scene.telemetry.calls.item_ended(item)
    scene.logs.output.close()
    assert [line["kind"] for line in scene.logs.lines("audit.refused")] == ["upstream_quota"]
    assert scene.counted() == {"upstream_quota": 1}
