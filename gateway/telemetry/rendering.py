"""How an event becomes a line: JSON, with the names that a collector wants, or text for eyes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

JSON = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

_SEVERITIES = {"info": "INFO", "warning": "WARNING", "error": "ERROR", "critical": "CRITICAL", "debug": "DEBUG"}
# By `telemetry.log_fields`: the keys that have other names, and what each line has in addition. In the Elastic Common
# Schema `event` and `error` are objects: a text under these names would be refused, or lose the whole line.
NAMES: Mapping[str, Mapping[str, str]] = {
    "default": {},
    "gcp": {"level": "severity", "event": "message"},
    "ecs": {
        "time": "@timestamp",
        "level": "log.level",
        "event": "message",
        "error": "error.type",
        "trace_id": "trace.id",
    },
}
_ADDED: Mapping[str, dict[str, str]] = {"default": {}, "gcp": {}, "ecs": {"ecs.version": "8.11.0"}}


class JsonLines:
    """Renders one object a line; `fields` is one of `NAMES`."""

    def __init__(self, fields: str = "default") -> None:
        self._names = NAMES[fields]
        self._added = _ADDED[fields]
        self._severities = _SEVERITIES if fields == "gcp" else {}

    def dumps(self, event: dict[str, Any]) -> bytes:
        """The line. Raises `TypeError` for what JSON cannot say."""
        if self._names:
            names = self._names
            level = event["level"]
            event = {names.get(key, key): value for key, value in event.items()} | self._added
            event[names["level"]] = self._severities.get(level, level)
        return orjson.dumps(event, option=JSON)

    def __call__(self, _logger: Any, _method: str, event: Any) -> bytes:
        """A structlog processor, which never fails."""
        try:
            return self.dumps(event)
        except TypeError:  # a whole number beyond 64 bits: whoever logs must not fail for it
            return self.dumps({"level": event["level"], "event": event["event"]})


class ConsoleLines:
    """Renders for eyes."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time", pad_event_to=24)

    def __call__(self, logger: Any, method: str, event: Any) -> bytes:
        """A structlog processor."""
        event["time"] = event["time"].strftime("%H:%M:%S.%f")[:-3]
        shown = {key: value for key, value in event.items() if value not in ("", None)}
        return f"{self._render(logger, method, shown)}\n".encode()


def lead(_logger: Any, level: str, event: Any) -> Any:
    """When, how bad and what: first in every line."""
    event.pop("time", None)
    line = {"time": datetime.now(UTC), "level": level, "event": event.pop("event")}
    line.update(event)
    return line
