"""`telemetry.audit`, `log_level` and `log_fields`: which lines there are, where, and what their fields are called."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from gateway.config import ConfigError, parse_config
from gateway.telemetry import audit
from gateway.telemetry.audit_file import AuditFileUnusable
from gateway.telemetry.calls import CallLog
from gateway.telemetry.record import CallRecord
from tests.support.conditions import eventually
from tests.support.logs import caught_logs

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"


def a_call(code: str = "", tenant: str = "kyc") -> None:
    """A search that has ended."""
    record = CallRecord(METHOD, "r", 0.0, tenant=tenant, code=code)
    record.finish(0.01)
    record.ended_at = time.time()
    CallLog().ended(record)


def events(text: str) -> list[str]:
    return [orjson.loads(line)["event"] for line in text.splitlines()]


def written(folder: Path, **settings: Any) -> list[dict[str, Any]]:
    """The lines of one good call, one that the vendor failed, and a start."""
    with caught_logs(folder, **settings) as logs:
        a_call()
        a_call("UNAVAILABLE")
        audit.started("c", "v")
        structlog.get_logger("t").info("server.listening", address="a", trace_id="t")
        structlog.get_logger("t").error("rpc.unhandled_exception", error="ValueError")
        logs.output.close()
        return [orjson.loads(line) for line in logs.text.splitlines()]


def test_with_the_audit_elsewhere_a_call_has_one_line(tmp_path: Path) -> None:
    """In the file are the events, and on stdout none of them."""
    file = tmp_path / "audit.jsonl"
    names = [line["event"] for line in written(tmp_path, audit="file", audit_file=file)]
    assert sorted(names) == ["rpc.ended", "rpc.ended", "rpc.unhandled_exception", "server.listening"]
    assert sorted(events(file.read_text())) == ["audit.search", "audit.search", "audit.start"]
    assert file.stat().st_mode & 0o007 == 0


def test_the_audit_can_be_off(tmp_path: Path) -> None:
    """Then nobody has it."""
    assert not [line for line in written(tmp_path, audit="off") if line["event"].startswith("audit.")]


@pytest.mark.parametrize(("level", "expected"), [("warning", ["warning", "error"]), ("error", ["error"])])
def test_a_level_leaves_lines_out_and_no_audit(tmp_path: Path, level: str, expected: list[str]) -> None:
    """Calls that went well are `info`; audit events have to be whole."""
    lines = written(tmp_path, level=level)
    assert sorted({line["level"] for line in lines if "stream" not in line}) == sorted(expected)
    assert len([line for line in lines if line["event"] == "audit.search"]) == 2


def test_google_cloud_reads_severity_and_message(tmp_path: Path) -> None:
    """In lines of calls, which are rendered by themselves, and in all others."""
    lines = written(tmp_path, fields="gcp")
    assert {(line["message"], line["severity"]) for line in lines} == {
        ("rpc.ended", "INFO"),
        ("rpc.ended", "WARNING"),
        ("audit.search", "INFO"),
        ("audit.start", "INFO"),
        ("server.listening", "INFO"),
        ("rpc.unhandled_exception", "ERROR"),
    }
    assert not any({"level", "event"} & line.keys() for line in lines)


def test_elastic_reads_its_common_schema(tmp_path: Path) -> None:
    """`event` and `error` are objects there, so no text has these names."""
    lines = written(tmp_path, fields="ecs")
    for line in lines:
        assert {"@timestamp", "log.level", "message", "ecs.version"} <= line.keys()
        assert not {"time", "level", "event", "error", "trace_id"} & line.keys()
    assert len([line for line in lines if line.get("trace.id")]) == 3
    assert [line["error.type"] for line in lines if "error.type" in line] == ["ValueError"]


async def test_a_renamed_audit_file_is_followed(tmp_path: Path) -> None:
    """As `logrotate` does it: what comes later is in a new file, and nothing is lost."""
    file, rotated = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with caught_logs(tmp_path, audit="file", audit_file=file) as logs:
        a_call()
        await eventually(lambda: file.read_text().count("\n") == 1, "the first event")
        file.rename(rotated)
        a_call()
        await eventually(lambda: file.exists() and file.read_text().count("\n") == 1, "an event in a new file")
        assert logs.output.lines_lost == 0
    assert events(rotated.read_text()) == events(file.read_text()) == ["audit.search"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """At the start, not at the first event."""
    with pytest.raises(AuditFileUnusable, match=r"nowhere/audit\.jsonl cannot be written: No such file"):
        written(tmp_path, audit="file", audit_file=tmp_path / "nowhere" / "audit.jsonl")


@pytest.mark.parametrize("settings", ["{audit: file}", "{audit: off, audit_file: /tmp/a}", "{audit: syslog}"])
def test_settings_that_do_not_fit_are_refused(settings: str) -> None:
    """By name."""
    with pytest.raises(ConfigError, match=r"telemetry\.audit"):
        parse_config(f"telemetry: {settings}")
