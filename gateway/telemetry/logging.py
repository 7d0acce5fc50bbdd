"""Structured logs: one JSON object a line on stdout, or coloured text for eyes.

structlog makes the events, `allowed.py` decides what of them may leave, `lines.py` writes them. Messages of libraries
are reduced to who wrote them: their texts may quote headers, addresses or bodies.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from gateway.telemetry import process_start
from gateway.telemetry.allowed import NAMES, AllowList
from gateway.telemetry.audit_file import AuditFile
from gateway.telemetry.lines import LineWriter, Queue
from gateway.telemetry.rendering import ConsoleLines, JsonLines, lead

_LIBRARY_PAUSE_SECONDS = 10.0
_MAX_FRAMES = 8
# The longest that a line of a call can be with honest values; with longer ones each is looked at.
_PLAIN_LINE_BYTES = 1024
# What a line may consist of between its brace and its end without being looked at: printable ASCII, nothing escaped,
# nothing nested.
_PLAIN = bytes(code for code in range(0x20, 0x7F) if code not in b"\\[{")

log = structlog.get_logger(__name__)


class LogOutput:
    """Where the process's log lines go. `lost` (by queue), `lines_lost` and `keys_dropped` count since the start."""

    def __init__(
        self,
        writer: LineWriter,
        allow_list: AllowList,
        render: Processor,
        *,
        audit: LineWriter | None = None,
        audit_render: JsonLines | None = None,
        quiet: Collection[str] = (),
    ) -> None:
        """Audit events go to `audit` (None: nowhere); with `audit_render` in that shape. Levels in `quiet` are left out."""
        self._writer = writer
        self._audit = audit
        self._allow_list = allow_list
        self._render = render
        self._audit_render = audit_render or render
        self._quiet = quiet

    @property
    def lines_lost(self) -> int:
        """Lines that could not be written."""
        return sum(self.lost)

    @property
    def lost(self) -> Sequence[int]:
        """The same for each `Queue`."""
        if self._audit is None or self._audit is self._writer:
            return self._writer.lost
        return [one + other for one, other in zip(self._writer.lost, self._audit.lost, strict=True)]

    @property
    def stuck(self) -> bool:
        """Whether lines cannot be written as things are."""
        return self._writer.stuck or (self._audit is not None and self._audit.stuck)

    @property
    def keys_dropped(self) -> int:
        """Keys that the allow-list does not have."""
        return self._allow_list.dropped

    def tell(self, event: dict[str, Any], queue: Queue = Queue.GATEWAY) -> None:
        """Writes an event whose values are the gateway's own plain ones; the same rules as for any other, at less cost.

        Instead of every value the finished line is looked at: whatever had to be escaped, cut or nested shows there.
        """
        writer, render = self._writer, self._render
        if "stream" in event:
            if self._audit is None:
                return
            writer, render = self._audit, self._audit_render
        elif event["level"] in self._quiet:
            return
        if type(render) is JsonLines and event.keys() <= NAMES:
            try:
                rendered = render.dumps(event)
            except TypeError:
                rendered = b""
            if len(rendered) <= _PLAIN_LINE_BYTES and rendered.translate(None, _PLAIN) == b"{\n":
                writer.write(rendered, queue)
                return
        level = event["level"]
        line: Any = render(None, level, lead(None, level, self._allow_list(None, level, event)))
        writer.write(line, queue)

    def close(self) -> None:
        """Writes what is queued, within two seconds."""
        self._writer.close()
        if self._audit is not None and self._audit is not self._writer:
            self._audit.close()


# Logging is configured for a process, not for a gateway in it, so its state is the process's too.
_output: LogOutput | None = None


def output() -> LogOutput | None:
    """The output that `configure_logging` made, or None."""
    return _output


def tell(event: dict[str, Any], queue: Queue = Queue.GATEWAY) -> None:
    """Writes one of the frequent events, a call's or an audited one, as fast as the format allows.

    The event begins with its `time` and `level`. It waits in `queue`.
    """
    if _output is not None:
        _output.tell(event, queue)
    else:
        getattr(log, event["level"])(**event)


def configure_logging(
    log_format: str,
    stream: TextIO | None = None,
    *,
    level: str = "info",
    fields: str = "default",
    audit: Literal["stdout", "file", "off"] = "stdout",
    audit_file: Path | None = None,
) -> LogOutput:
    """Sets up the process's logs; `log_format` is `json` or `console`. Replaces what was set up before.

    They go to `stream`, by default to stdout. If that is closed, every line is lost and counted, and stderr says so once.
    For the others see the settings of the same names. Raises `AuditFileUnusable`.
    """
    global _output  # noqa: PLW0603 - see above
    stream = stream or _stdout()
    if stream is not None:
        stream.flush()
    events = AuditFile(audit_file) if audit == "file" and audit_file is not None else None
    writer = LineWriter(stream.fileno() if stream is not None else None)
    allow_list = AllowList()
    json_lines = JsonLines(fields)
    render: Processor = json_lines
    if log_format != "json":
        render = ConsoleLines(colors=stream is not None and stream.isatty())
    processors: list[Processor] = [allow_list, lead, render]
    lowest = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=lambda *_: _LineLogger(writer),
        # Frequent events go by `tell`; a cached logger would outlive a second configuration.
        cache_logger_on_first_use=False,
    )
    _reduce_libraries()
    _reduce_crashes()
    if _output is not None:
        _output.close()
    _output = LogOutput(
        writer,
        allow_list,
        render,
        audit=writer if audit == "stdout" else events,
        audit_render=json_lines if audit == "file" else None,
        quiet=frozenset(name for name in ("info", "warning") if logging.getLevelNamesMapping()[name.upper()] < lowest),
    )
    removed = process_start.take_removed()
    if removed:
        log.warning("process.variables_removed", variables=removed)
    return _output


def _stdout() -> TextIO | None:
    # None if the process was started without it, whatever the stubs say.
    stdout: TextIO | None = sys.stdout
    stderr: TextIO | None = sys.stderr
    if stdout is None and stderr is not None:
        with suppress(OSError):
            stderr.write("facegate: stdout is closed: log lines and audit events are lost\n")
            stderr.flush()
    return stdout


class _LineLogger:
    """What structlog hands finished lines to."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def debug(self, line: bytes) -> None:
        self._writer.write(line)

    def error(self, line: bytes) -> None:
        self._writer.write(line, hurry=True)

    info = warning = debug
    critical = error


class _LibraryMessages(logging.Handler):
    """Tells that a library has written a warning or worse: its name and level, never the message or its arguments."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Tells of each logger and level at most every ten seconds: some libraries warn once a call."""
        about = (record.name, record.levelname)
        now = time.monotonic()
        if now - self._told.get(about, -_LIBRARY_PAUSE_SECONDS) < _LIBRARY_PAUSE_SECONDS:
            self._left_out[about] = self._left_out.get(about, 0) + 1
            return
        self._told[about] = now
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write("library.message", logger=record.name, left_out=self._left_out.pop(about, 0))


def _reduce_libraries() -> None:
    logging.basicConfig(level=logging.WARNING, handlers=[_LibraryMessages()], force=True)
    logging.captureWarnings(capture=True)
    # A handler that fails prints the record, with its message and arguments, on stderr.
    logging.raiseExceptions = False
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        # A library that set itself up before us must not write past us.
        logger.handlers = [handler for handler in logger.handlers if isinstance(handler, logging.NullHandler)]
        logger.propagate = True


def frames_of(trace: TracebackType | None) -> list[str]:
    """Where something was raised: function and line. Values and messages may hold a caller's data and stay out."""
    return [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(trace)[-_MAX_FRAMES:]]


def _reduce_crashes() -> None:
    """Python prints an exception that nobody catches, with its text, on stderr. Here only its class and place."""

    def crashed(kind: type[BaseException], _: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.error("process.crashed", exception=kind.__name__, frames=frames_of(trace))

    def thread_crashed(args: threading.ExceptHookArgs) -> None:
        log.error("process.thread_crashed", exception=args.exc_type.__name__, frames=frames_of(args.exc_traceback))

    def unraisable(args: Any) -> None:
        log.error("process.unraisable", exception=args.exc_type.__name__, frames=frames_of(args.exc_traceback))

    sys.excepthook = crashed
    threading.excepthook = thread_crashed
    sys.unraisablehook = unraisable
