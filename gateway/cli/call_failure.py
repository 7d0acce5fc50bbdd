"""A failed call as the command line shows it: one line for a person, or a mapping for a program."""

from __future__ import annotations

from typing import Any

from gateway.cli.durations import spoken
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
        parts += _by_field(self.violations)
        if self.retry_after_seconds is not None:
            parts.append(f"try again in {spoken(self.retry_after_seconds)}")
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


def _by_field(violations: tuple[tuple[str, str], ...]) -> list[str]:
    """A part for each field, which names it once, whatever the descriptions begin with and however many it has."""
    fields: dict[str, list[str]] = {}
    for field, description in violations:
        text = description.removeprefix(field).lstrip(": ") if _begins_with(description, field) else description
        fields.setdefault(field, []).append(text)
    return [
        f"{field}: {', '.join(dict.fromkeys(texts))}" if field else ", ".join(texts) for field, texts in fields.items()
    ]


def _begins_with(description: str, field: str) -> bool:
    """Whether the description's first word is the field's name."""
    return bool(field) and description.startswith(field) and description[len(field) : len(field) + 1] in (" ", ":")
