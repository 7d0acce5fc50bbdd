"""Files stay small: one idea each."""

from __future__ import annotations

from collections.abc import Callable

from tests.architecture.tracked import python_files

FAULT_LINES = 400
SMELL_LINES = 250
FOLDERS = ("gateway", "bench", "clients", "tests")


def test_no_file_is_too_long(record_property: Callable[[str, object], None]) -> None:
    """A Python file of 400 lines or more is a fault; those above 250 go into the report as ones to split."""
    lengths = {str(path): len(text.splitlines()) for path, text in python_files(*FOLDERS)}
    assert lengths
    record_property("files_to_split", {path: lines for path, lines in lengths.items() if lines > SMELL_LINES})
    assert not {path: lines for path, lines in lengths.items() if lines >= FAULT_LINES}
