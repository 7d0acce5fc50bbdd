"""The repository's own files, for the rules that are checked on their text."""

from __future__ import annotations

import fnmatch
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.tools import ROOT


def tracked_files() -> list[Path]:
    """Every file that is committed or would be, relative to the root; without those that a change deletes."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        # The tests need no git: the sources may come as an archive, or belong to another user.
        return sorted(files_that_are_not_ignored())
    return sorted(path for name in listed.split("\0") if name and (ROOT / (path := Path(name))).is_file())


def files_that_are_not_ignored() -> Iterator[Path]:
    """Every file below the root that the plain patterns of `.gitignore` leave."""
    lines = (ROOT / ".gitignore").read_text("utf-8").splitlines()
    patterns = [".git", *(line.strip("/") for line in lines if line and not line.startswith("#"))]

    def kept(names: list[str]) -> list[str]:
        return [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]

    for folder, folders, files in os.walk(ROOT):
        folders[:] = kept(folders)
        for name in kept(files):
            yield (Path(folder) / name).relative_to(ROOT)


def python_files(*folders: str) -> Iterator[tuple[Path, str]]:
    """Path and text of every Python file below `folders`."""
    for path in tracked_files():
        if path.suffix == ".py" and path.parts[0] in folders:
            yield path, (ROOT / path).read_text("utf-8")
