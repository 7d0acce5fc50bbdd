"""The list of files that other rules are checked on does not need git."""

from __future__ import annotations

import pytest

from tests.architecture.tracked import files_that_are_not_ignored, tracked_files


def test_without_git_no_file_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has Python and make alone checks as much as any other; what is installed or made is left out."""
    with_git = tracked_files()
    monkeypatch.setenv("PATH", "/nowhere")
    without = tracked_files()
    assert without == sorted(files_that_are_not_ignored())
    assert set(with_git) <= set(without)
    assert not [path for path in without if path.parts[0] in (".git", ".venv") or "__pycache__" in path.parts]
