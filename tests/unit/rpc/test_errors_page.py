"""The callers' page of errors is what the error table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rpc.errors_page import errors_page, main
from gateway.rpc.status import TABLE

PAGE = Path(__file__).resolve().parents[3] / "docs" / "errors.md"


def test_the_committed_page_is_generated() -> None:
    """`make generate` would change nothing."""
    assert PAGE.read_text("utf-8") == errors_page()


def test_every_error_has_a_row_and_a_message() -> None:
    """Each reason stands in both tables."""
    lines = errors_page().splitlines()
    for error in TABLE:
        assert len([line for line in lines if line.startswith(f"| `{error.reason}` |")]) == 2


def test_a_row_says_what_is_sent() -> None:
    """Status, details, RetryInfo, pushback and charge of the row."""
    (row, _) = [line for line in errors_page().splitlines() if line.startswith("| `UPSTREAM_RATE_LIMITED` |")]
    assert row.split(" | ")[1] == "UNAVAILABLE"
    assert row.split(" | ")[4:] == ["5 s", "as RetryInfo", "no |"]


def test_a_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails on a page that was edited or is missing, and writes nothing."""
    assert main(["--check", str(tmp_path)]) == 1
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    page = tmp_path / "errors.md"
    page.write_text("edited")
    assert main(["--check", str(tmp_path)]) == 1
    assert page.read_text() == "edited"
    assert "errors.md differs" in capsys.readouterr().err
