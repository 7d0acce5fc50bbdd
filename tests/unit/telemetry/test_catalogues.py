"""What the code logs, what the catalogues list and what the reference page says are the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from gateway.telemetry.allowed import KEYS
from gateway.telemetry.docs import reference_page
from gateway.telemetry.events import EVENTS
from tests.support.tools import ROOT

# Its logs are not the gateway's.
_ELSEWHERE = {"sandbox"}
_LEVELS = {"info", "warning", "error", "exception", "critical", "debug"}
_ADDED = {"exc_info", "stack_info"}


def log_calls() -> Iterator[tuple[Path, ast.Call]]:
    """Every call of a structlog logger in the gateway."""
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        if path.relative_to(ROOT / "gateway").parts[0] in _ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in _LEVELS
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in {"log", "_log", "logger"}
            ):
                yield path, node


def test_every_event_is_listed_and_every_key_allowed() -> None:
    """A key that is logged and not allowed would be dropped in silence; an event nobody can look up helps nobody."""
    calls = list(log_calls())
    assert len(calls) > 15
    for path, call in calls:
        place = f"{path.relative_to(ROOT)}:{call.lineno}"
        if call.args and isinstance(call.args[0], ast.Constant):
            assert call.args[0].value in EVENTS, f"{place}: add the event to telemetry/events.py"
        keys = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        assert keys <= KEYS.keys() | _ADDED, f"{place}: {keys - KEYS.keys()} are not in telemetry/allowed.py"


def test_no_event_is_listed_that_nothing_logs() -> None:
    """Each stands as a literal somewhere in the gateway."""
    written = "".join(
        path.read_text("utf-8")
        for path in (ROOT / "gateway").rglob("*.py")
        if path.name != "events.py" and "sandbox" not in path.parts
    )
    assert not [event for event in EVENTS if f'"{event}"' not in written]


def test_the_reference_page_is_generated() -> None:
    """`make generate` writes it."""
    assert (ROOT / "docs" / "telemetry.md").read_text("utf-8") == reference_page()
