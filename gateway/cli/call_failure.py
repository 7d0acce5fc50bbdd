"""A failed call as the command line shows it: one line for a person, or a mapping for a program."""

from __future__ import annotations

from typing import Any

from gateway.cli.terminal import printable

_LONGEST = 600


class CallFailure(Exception):
    """What a failed call said. `reason`, `violations` and the rest are empty where the gateway gave none."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        self.message = message
        self.reason = ""
        self.violations: tuple[tuple[str, str], ...] = ()
        self.retry_after_seconds: float | None = None
        self.request_id = ""
        super().__init__(code)

    def line(self) -> str:
        """Everything in one line."""
        parts = [f"{' '.join(filter(None, (self.code, self.reason)))}: {self.message}"]
        parts += [f"{field}: {description}" for field, description in self.violations]
        if self.retry_after_seconds is not None:
            parts.append(f"try again in {self.retry_after_seconds:g} s")
        if self.request_id:
            parts.append(f"request id {self.request_id}")
        line = printable("; ".join(parts))
        return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."

    def as_mapping(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "violations": [{"field": field, "description": description} for field, description in self.violations],
            "retry_after_seconds": self.retry_after_seconds,
            "request_id": self.request_id,
        }
