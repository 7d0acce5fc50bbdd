"""The audit stream tells of what happened, once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.telemetry.audit import FilesAudit, call_ended
from gateway.telemetry.record import CallRecord
from tests.support.logs import caught_logs

SEARCH = "/facegate.search.v1.FaceSearchService/SearchFace"


def test_files_that_stay_refused_are_told_of_once(tmp_path: Path) -> None:
    """They are tried again every two seconds, which is no event; another problem is, and so is every success."""
    with caught_logs(tmp_path) as logs:
        files = FilesAudit()
        for problem in (None, "a is empty", "a is empty", "a is missing", None, None, "a is missing"):
            files.loaded("tokens", problem)
        files.loaded("keys", "a is missing")
        logs.output.close()
        told = [(line["files"], line["decision"]) for line in logs.lines("audit.files")]
    tokens = ["allowed", "refused", "refused", "allowed", "allowed", "refused"]
    assert told == [*(("tokens", decision) for decision in tokens), ("keys", "refused")]


@pytest.mark.parametrize(
    ("method", "tenant", "audited"), [(SEARCH, "kyc", 1), (SEARCH, "", 0), ("/evil/SearchFace", "kyc", 0)]
)
def test_a_search_is_a_known_rpc_of_a_known_caller(method: str, tenant: str, audited: int, tmp_path: Path) -> None:
    """Whatever else ended without being refused is no search, even if its name ends like one."""
    with caught_logs(tmp_path) as logs:
        call_ended(CallRecord(method, "r", 0.0, tenant=tenant), None, datetime.now(UTC))
        logs.output.close()
        assert len(logs.lines("audit.search")) == len(logs.lines()) == audited
