"""The repository's own files, for the rules that are checked on their text."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.tools import ROOT


def tracked_files() -> list[Path]:
    """Every file that is committed or would be, relative to the root; without those that a change deletes."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(path for name in listed.split("\0") if name and (ROOT / (path := Path(name))).is_file())


def python_files(*folders: str) -> Iterator[tuple[Path, str]]:
    """Path and text of every Python file below `folders`."""
    for path in tracked_files():
        if path.suffix == ".py" and path.parts[0] in folders:
            yield path, (ROOT / path).read_text("utf-8")
