"""Further attempts are for tests that rest on times, and for no others: a repeated test would hide a fault that is rare."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_nothing_else_is_repeated() -> None:
    """`timed` is the only way to a further attempt."""
    found = [
        path.relative_to(TESTS).as_posix()
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__) and any(word in path.read_text("utf-8") for word in ("mark.flaky", "--reruns"))
    ]
    assert found == ["conftest.py"]


def test_what_is_repeated_is_marked_module_by_module() -> None:
    """So that a reader sees it at the top of the file, and it stays where it belongs."""
    marked = [path for path in TESTS.rglob("test_*.py") if "mark.timed" in path.read_text("utf-8")]
    assert 20 < len(marked) < 60
    for path in marked:
        if path != Path(__file__):
            assert "\npytestmark = " in path.read_text("utf-8"), path
