"""What the gateway refuses by itself, over real gRPC; and that no error goes unshown."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb

from gateway import errors
from gateway.errors import GatewayError
from gateway.rpc.status import TABLE
from tests.support.conditions import eventually
from tests.support.end_to_end import staged
from tests.support.error_contract import PROMISES, assert_kept
from tests.support.gateway_error_rows import GATEWAY_ROWS, Produce
from tests.support.vendor_error_rows import VENDOR_ROWS

# Why no row of these tests ends with the error.
NOT_SHOWN: dict[type[GatewayError], str] = {
    errors.Cancelled: "nobody is left to be told: the caller's own gRPC reports it (shown below)",
    errors.DeadlineExceeded: "on a busy machine its caller's own gRPC is first (shown below)",
}


@pytest.mark.parametrize(
    ("reason", "produce"), [pytest.param(reason, produce, id=name) for name, (reason, produce) in GATEWAY_ROWS.items()]
)
async def test_a_row(reason: str, produce: Produce, tmp_path: Path) -> None:
    """Status, reason, details and trailers of the row; nothing private; nothing charged."""
    assert_kept(await produce(tmp_path), reason)


def test_every_error_is_shown_or_says_why_not() -> None:
    """Each class of the table is the end of a call in these tests: a new one needs a row here."""
    shown = {reason for reason, _ in GATEWAY_ROWS.values()} | {row.reason for row in VENDOR_ROWS.values()}
    excused = {error.reason.value for error in NOT_SHOWN}
    assert shown == set(PROMISES)
    assert shown | excused == {error.reason.value for error in TABLE}
    assert not shown & excused


async def test_a_callers_cancellation(tmp_path: Path) -> None:
    """CANCELLED at the caller; once the search is sent it is charged."""
    async with staged(tmp_path) as stage:
        stage.sandbox.faults.post({"kind": "latency", "latency_seconds": 0.1})
        call = stage.search()
        await eventually(lambda: stage.sandbox.stats.total.in_flight == 1, "the search is at the vendor")
        call.cancel()
        assert await call.code() == grpc.StatusCode.CANCELLED
        await eventually(lambda: len(stage.gateway._flights) == 0, "the search has ended")
        assert await stage.used() == 1


async def test_a_callers_deadline(tmp_path: Path) -> None:
    """The gateway answers DEADLINE_EXCEEDED just before the deadline passes; once the search is sent it is charged."""
    async with staged(tmp_path) as stage:
        stage.sandbox.faults.post({"kind": "latency", "latency_seconds": 2.5})
        refused = await stage.refused(stage.search(timeout=1.5))
        assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
        # On a busy machine the client's own clock may be first; its error has no details.
        if refused.details:
            assert (refused.reason, set(refused.details)) == ("DEADLINE_EXCEEDED", {"ErrorInfo"})
            assert "upstream;dur=" in str(refused.trailers["server-timing"])
        await eventually(lambda: len(stage.gateway._flights) == 0, "the search has ended")
        assert await stage.used() == stage.sandbox.stats.total.calls == 1
        answer = await stage.search()
        assert answer.cache.status == pb.CACHE_STATUS_HIT
