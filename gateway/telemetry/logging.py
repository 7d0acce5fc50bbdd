"""Structured logs: one JSON object a line on stdout, or coloured text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import orjson
import structlog
from structlog.typing import Processor


def configure_logging(log_format: str, stream: TextIO = sys.stdout) -> None:
    """Sets up the process's logs once; `log_format` is `json` or `console`.

    Libraries' own loggers are silenced below warnings: some of them print request headers or bodies when they debug.
    """
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    factory: structlog.BytesLoggerFactory | structlog.PrintLoggerFactory
    if log_format == "json":
        shared.append(structlog.processors.JSONRenderer(serializer=orjson.dumps))
        factory = structlog.BytesLoggerFactory(stream.buffer)
    else:
        shared.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
        factory = structlog.PrintLoggerFactory(stream)
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[logging.NullHandler()], force=True)
