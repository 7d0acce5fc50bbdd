"""Log lines: what may be in them, and that writing them never hurts who logs."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import structlog

from gateway.telemetry.allowed import KEYS, MAX_TEXT, AllowList
from gateway.telemetry.calls import CallLog, size_bucket
from gateway.telemetry.logging import tell
from gateway.telemetry.record import CallRecord
from tests.support.logs import CaughtLogs, caught_logs

CANARY = "canary-9f86d081-secret"
METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
HOSTILE = (
    'new\nline {"event":"rpc.ended"}',
    "\x1b[31mred\x1b[0m",
    "tab\tcr\rnul\x00del\x7f",
    "separator\u2028and\x85next",
    "right\u202eto left",
    "lone \ud800 surrogate",
    '"},{"level":"error',
    "x" * 100_000,
)

log = structlog.get_logger(__name__)


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[CaughtLogs]:
    """Logs as they are configured by default."""
    with caught_logs(tmp_path) as logs:
        yield logs


def a_record(**changes: object) -> CallRecord:
    """A call that ended well."""
    record = CallRecord(METHOD, "req-1", 10.0, tenant="kyc", face_set="employees", image_format="jpeg")
    record.spent("quota", 0.0, 0.001)
    record.finish(10.25)
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def test_a_key_that_is_not_listed_is_dropped_and_counted(logs: CaughtLogs) -> None:
    """By whatever way it is logged."""
    log.info("test.event", tenant="kyc", image=CANARY, person_id=CANARY)
    tell({"time": datetime.now(UTC), "level": "info", "event": "test.told", "tenant": "kyc", "token": CANARY})
    logs.output.close()
    assert CANARY not in logs.text
    assert logs.output.keys_dropped == 3
    assert [line["tenant"] for line in logs.lines()] == ["kyc", "kyc"]


@pytest.mark.parametrize("value", HOSTILE)
def test_whatever_a_value_holds_it_is_one_escaped_line(logs: CaughtLogs, value: str) -> None:
    """Newlines, ANSI, fake JSON and directions of text show as escapes, and no line is long."""
    log.warning("test.event", tenant=value, files=[value])
    CallLog().ended(a_record(method=f"/{value}"))
    logs.output.close()
    assert logs.text.isascii()
    assert logs.text.replace("\n", "").isprintable()
    lines = logs.lines()
    assert [line["event"] for line in lines] == ["test.event", "rpc.ended"]
    assert max(map(len, logs.text.split("\n"))) < 1500
    assert len(lines[0]["tenant"]) <= MAX_TEXT


class Chatty:
    def __repr__(self) -> str:
        return CANARY

    __str__ = __repr__


@pytest.mark.parametrize("value", [Chatty(), b"canary-9f86d081-secret", {"a": CANARY}, [Chatty()], Exception(CANARY)])
def test_only_plain_values_leave(logs: CaughtLogs, value: object) -> None:
    """An object could print what it holds; its class is all that is told."""
    log.info("test.event", tenant=value)
    tell({"time": datetime.now(UTC), "level": "info", "event": "test.told", "tenant": value})
    logs.output.close()
    assert CANARY not in logs.text
    assert len(logs.lines()) == 2


def test_an_exceptions_text_never_leaves(logs: CaughtLogs) -> None:
    """Neither by `exc_info` nor as an argument of the event."""
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        log.exception("test.failed")
        log.error("test.failed", exc_info=True, stack_info=True)  # noqa: G201 - the careless way
    log.error(f"data {CANARY} in the name")  # noqa: G004 - the careless way
    logs.output.close()
    assert CANARY not in logs.text
    assert [line["event"] for line in logs.lines()] == ["test.failed", "test.failed", "log.malformed_event"]


def test_a_number_beyond_json_fails_nobody(logs: CaughtLogs) -> None:
    """The line says less, and the caller goes on."""
    log.info("test.event", total=1 << 70)
    logs.output.close()
    assert [line["event"] for line in logs.lines()] == ["test.event"]


def test_libraries_are_reduced_to_their_names(logs: CaughtLogs) -> None:
    """Messages, arguments and exceptions of std logging and warnings stay out; debug and info are silent."""
    for name in ("grpc._cython.cygrpc", "asyncio", "aiohttp.client", "httpx", "redis", "urllib3"):
        logging.getLogger(name).info(CANARY)
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger(name).exception("request %s", CANARY)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, stacklevel=1)
    logs.output.close()
    assert CANARY not in logs.text
    messages = logs.lines("library.message")
    assert {line["logger"] for line in messages} == {
        "grpc._cython.cygrpc",
        "asyncio",
        "aiohttp.client",
        "httpx",
        "redis",
        "urllib3",
        "py.warnings",
    }


def test_a_library_that_floods_is_told_of_once(logs: CaughtLogs) -> None:
    """A warning a call would otherwise be two lines a call."""
    for _ in range(1000):
        logging.getLogger("flooding").warning("again")
    logs.output.close()
    assert len(logs.lines("library.message")) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_crash_is_told_without_its_text(
    logs: CaughtLogs, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would print the exception on stderr."""

    def crash() -> None:
        raise RuntimeError(CANARY)

    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    logs.output.close()
    (line,) = logs.lines("process.thread_crashed")
    assert (line["exception"], line["frames"][-1].split(":")[0]) == ("RuntimeError", "crash")
    assert CANARY not in logs.text
    assert CANARY not in "".join(capfd.readouterr())


def test_a_call_is_one_line_with_what_an_operator_needs(logs: CaughtLogs) -> None:
    """Who, what, how it ended, how long each step took; and an audit event."""
    CallLog().ended(
        a_record(code="UNAVAILABLE", reason="UPSTREAM_TIMEOUT", trace_id=7, image_bytes=70_000, sampled=True)
    )
    logs.output.close()
    (line,) = logs.lines("rpc.ended")
    assert line["level"] == "warning"
    assert line["trace_id"] == f"{7:032x}"
    assert (line["tenant"], line["face_set"], line["code"]) == ("kyc", "employees", "UNAVAILABLE")
    assert (line["image_size"], line["quota_ms"], line["total_ms"]) == ("<=128KiB", 1.0, 250.0)
    (event,) = logs.lines("audit.search")
    assert (event["stream"], event["decision"], event["request_id"]) == ("audit", "allowed", "req-1")


def test_an_honest_call_goes_the_short_way(logs: CaughtLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that needs no care is not looked at value by value: that is most of what it may cost."""
    careful = 0

    def count(self: AllowList, *_: object) -> object:
        nonlocal careful
        careful += 1
        return _[-1]

    monkeypatch.setattr(AllowList, "__call__", count)
    CallLog().ended(a_record(trace_id=7))
    logs.output.close()
    assert careful == 0
    assert len(logs.lines()) == 2


def test_every_key_has_a_meaning() -> None:
    """The list is the reference page's too."""
    assert all(KEYS.values())


@pytest.mark.parametrize(
    ("size", "bucket"),
    [(0, ""), (1, "<=1KiB"), (1024, "<=1KiB"), (1025, "<=2KiB"), (100_000, "<=128KiB"), (5_242_880, "<=8192KiB")],
)
def test_sizes_are_powers_of_two(size: int, bucket: str) -> None:
    """An exact size could single an image out."""
    assert size_bucket(size) == bucket


@pytest.mark.parametrize("value", HOSTILE)
def test_the_console_shows_the_same(tmp_path: Path, value: str) -> None:
    """Text for eyes passes the same list, by either way: nothing of a value reaches the terminal unescaped."""
    with caught_logs(tmp_path, "console") as logs:
        log.info("test.event", tenant=value, files=[value], image=CANARY)
        CallLog().ended(a_record(face_set=value, request_id=value))
        logs.output.close()
        text = logs.text
        assert CANARY not in text
        assert text.isascii()
        assert text.replace("\n", "").isprintable()
        assert len(text.splitlines()) == 3
        assert max(map(len, text.splitlines())) < 1500


def test_json_is_ordered_for_eyes(logs: CaughtLogs) -> None:
    """When, how bad, what: first in every line."""
    log.error("test.event", tenant="kyc")
    CallLog().ended(a_record())
    logs.output.close()
    for line in logs.text.splitlines():
        assert list(orjson.loads(line))[:3] == ["time", "level", "event"]
