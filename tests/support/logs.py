"""The process's logs, caught in a file as the gateway writes them."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import orjson
import structlog

from gateway.telemetry import logging as telemetry_logging
from gateway.telemetry.logging import LogOutput, configure_logging


class CaughtLogs:
    """The lines that were written. `output` is what the gateway asks for counts."""

    def __init__(self, file: Path, output: LogOutput) -> None:
        self._file = file
        self.output = output

    @property
    def text(self) -> str:
        """All bytes so far, as text."""
        return self._file.read_text("utf-8")

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """Every complete line, or those of one event. Fails if one is no JSON object."""
        found = [orjson.loads(line) for line in self.text.split("\n")[:-1]]
        return [line for line in found if event in ("", line["event"])]


@contextmanager
def logging_to(stream: TextIO, log_format: str = "json", **settings: Any) -> Iterator[LogOutput]:
    """Configures the logs as `facegate serve` does, and puts everything back."""
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    handlers, level, raising = logging.root.handlers[:], logging.root.level, logging.raiseExceptions
    show = warnings.showwarning
    output = configure_logging(log_format, stream, **settings)
    try:
        yield output
    finally:
        output.close()
        telemetry_logging._output = None
        logging.captureWarnings(capture=False)
        warnings.showwarning = show
        logging.root.handlers, logging.raiseExceptions = handlers, raising
        logging.root.setLevel(level)
        sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
        structlog.reset_defaults()


@contextmanager
def caught_logs(folder: Path, log_format: str = "json", **settings: Any) -> Iterator[CaughtLogs]:
    """Logs that go to a file in `folder`. `settings` are those of `configure_logging`."""
    file = folder / "log"
    with file.open("w") as stream, logging_to(stream, log_format, **settings) as output:
        yield CaughtLogs(file, output)
