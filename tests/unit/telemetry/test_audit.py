"""The audit stream tells of what happened, once."""

from __future__ import annotations

from pathlib import Path

from gateway.telemetry.audit import FilesAudit
from tests.support.logs import caught_logs


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
