"""Whatever the vendor does, over real HTTP, the caller gets what it was promised, over real gRPC, and nothing more."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest
from facegate.search.v1 import face_search_service_pb2 as pb

from tests.support.conditions import eventually
from tests.support.end_to_end import API_SECRET, UPSTREAM_FACE_SET, VENDOR_HOST, VENDOR_TEXT, Stage, staged
from tests.support.error_contract import assert_kept, delay_of
from tests.support.gateway import Refusal
from tests.support.pki import Authority
from tests.support.vendor import Vendor, always, json_response
from tests.support.vendor_error_rows import VENDOR_ROWS, VendorRow


async def assert_charged(stage: Stage, calls: int) -> None:
    """Fails unless the tenant is charged for so many calls in the end: a refund follows the answer."""
    used = await stage.used()
    for _ in range(20):
        if used == calls:
            break
        used = await stage.used()
    assert used == calls


def assert_details(refused: Refusal) -> None:
    """Fails if a detail says something else than its row does."""
    details = refused.details
    if "BadRequest" in details:
        assert [violation.field for violation in details["BadRequest"].field_violations] == ["image"]
    if "PreconditionFailure" in details:
        assert [violation.type for violation in details["PreconditionFailure"].violations] == ["FACE_SET"]
    if "QuotaFailure" in details:
        assert [violation.subject for violation in details["QuotaFailure"].violations] == ["gateway"]


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in VENDOR_ROWS.items()])
async def test_a_row(row: VendorRow, tmp_path: Path) -> None:
    """Status, reason, details, trailers and charge of the row; none of the vendor's words, secrets or names."""
    async with staged(tmp_path, upstream_settings=dict(row.settings)) as stage:
        stage.sandbox.faults.post(dict(row.fault))
        refused = await stage.refused()
        attempts = stage.sandbox.stats.total.calls
        assert 1 <= attempts <= 2
        assert_kept(refused, row.reason, attempts=attempts, retry_after=row.retry_after is not None)
        assert_details(refused)
        assert "upstream;dur=" in str(refused.trailers["server-timing"])
        if row.retry_after is not None:
            assert delay_of(refused) == pytest.approx(row.retry_after, abs=0.5)
        await assert_charged(stage, 1 if row.charged else 0)


async def test_a_used_up_account_says_when_it_is_good_again(tmp_path: Path) -> None:
    """RetryInfo names the next midnight UTC, when the vendor's day begins."""
    async with staged(tmp_path) as stage:
        stage.sandbox.faults.post({"kind": "status", "status": "OUT_OF_QUOTA"})
        midnight = time.time() + delay_of(await stage.refused())
        assert abs((midnight + 43_200) % 86_400 - 43_200) < 5


async def test_no_result_is_an_answer_and_is_charged(tmp_path: Path) -> None:
    """OK, empty, NO_RESULT_REPORTED: never an error and never mistaken for NO_MATCH."""
    async with staged(tmp_path) as stage:
        stage.sandbox.faults.post({"kind": "status", "status": "QUERY_FAILED", "reason": "no result"})
        call = stage.search()
        answer = await call
        assert (list(answer.matches), answer.outcome) == ([], pb.SEARCH_OUTCOME_NO_RESULT_REPORTED)
        assert answer.quota_charge.upstream_calls == 1
        await assert_charged(stage, 1)


async def test_a_vendor_that_cannot_be_reached(tmp_path: Path) -> None:
    """Nobody listens: UPSTREAM_UNAVAILABLE, and the search is given back."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        settings = {"base_url": f"http://{VENDOR_HOST}:{nobody.getsockname()[1]}"}
        async with staged(tmp_path, upstream_settings=settings) as stage:
            refused = await stage.refused()
            pushback = refused.trailers.get("grpc-retry-pushback-ms")
            assert_kept(refused, "UPSTREAM_UNAVAILABLE", attempts=1 if pushback is None else 2)
            await assert_charged(stage, 0)


async def test_a_vendor_with_a_foreign_certificate(tmp_path: Path) -> None:
    """UPSTREAM_UNAVAILABLE; neither image nor secrets are sent to it."""
    (tmp_path / "ca.pem").write_bytes(Authority("ours").pem)
    theirs = Authority("theirs").server(VENDOR_HOST)
    (tmp_path / "vendor.pem").write_bytes(theirs.certificate + theirs.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "vendor.pem")
    async with Vendor(always(json_response(200, {"status": "OK", "result": []})), tls=tls, host=VENDOR_HOST) as vendor:
        settings = {"base_url": vendor.base_url, "ca_file": str(tmp_path / "ca.pem")}
        async with staged(tmp_path, upstream_settings=settings) as stage:
            assert_kept(await stage.refused(), "UPSTREAM_UNAVAILABLE")
            await assert_charged(stage, 0)
        assert not vendor.received


async def test_what_a_hostile_vendor_echoes_stays_inside(tmp_path: Path) -> None:
    """Secrets and names in the vendor's id, headers and unknown fields of a failure do not reach the caller."""
    echo = {"status": "INTERNAL_ERROR", "reason": VENDOR_TEXT, "request_id": API_SECRET, UPSTREAM_FACE_SET: API_SECRET}
    answer = json_response(500, echo, f"x-request-id: {API_SECRET}", f"grpc-message: {VENDOR_TEXT}")
    async with (
        Vendor(always(answer), host=VENDOR_HOST) as vendor,
        staged(tmp_path, upstream_settings={"base_url": vendor.base_url}) as stage,
    ):
        refused = await stage.refused()
        assert f":{vendor.port}" not in refused.everything
        assert_kept(refused, "UPSTREAM_ERROR", attempts=len(vendor.received))


async def test_a_call_given_up_by_its_caller_is_charged_once_sent(tmp_path: Path) -> None:
    """What was sent runs on, and the vendor bills it; a second call finds its answer in the cache, for nothing."""
    async with staged(tmp_path) as stage:
        stage.sandbox.faults.post({"kind": "latency", "latency_seconds": 0.2, "calls": 1})
        call = stage.search()
        await eventually(lambda: stage.sandbox.stats.total.in_flight == 1, "the search is at the vendor")
        call.cancel()
        await eventually(lambda: stage.sandbox.stats.total.in_flight == 0, "the vendor has answered")
        await eventually(lambda: len(stage.gateway._flights) == 0, "the gateway has the answer")
        await assert_charged(stage, 1)
        again = await stage.search()
        assert (again.cache.status, again.quota_charge.upstream_calls) == (pb.CACHE_STATUS_HIT, 0)
        assert stage.sandbox.stats.total.calls == 1
        await assert_charged(stage, 1)


async def test_hits_cost_nothing(tmp_path: Path) -> None:
    """Ten calls, one of them upstream: one is charged, by the answer and by GetQuota."""
    async with staged(tmp_path) as stage:
        answers = [await stage.search() for _ in range(10)]
        assert [answer.quota_charge.upstream_calls for answer in answers] == [1] + [0] * 9
        await assert_charged(stage, 1)
        assert stage.sandbox.stats.total.calls == 1
