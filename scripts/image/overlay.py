"""Copies one installed distribution out of an environment, as a layer of its own.

    overlay.py ENVIRONMENT/bin/python DISTRIBUTION FOLDER [--without PART/]

A release of the gateway then changes a layer of a megabyte, and leaves the dependencies' one as it is. Files of
the distribution below PART are left out, save the photo that a first search can name.
"""

# ruff: noqa: S603 - it runs while the image is built, and starts the programs of the base image.
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

_LISTED = """
import importlib.metadata, json, sys
print(json.dumps([str(f.locate().resolve()) for f in importlib.metadata.distribution(sys.argv[1]).files]))
"""
PHOTO = ("gateway/sandbox/data/queries/astronaut.jpg", "usr/share/facegate/photo.jpg")
"""Where the shipped photo lies whatever the version of Python, so that a first search can name it."""


def main(python: str, distribution: str, folder: Path, without: str | None) -> None:
    """Lays the files of `distribution` below `folder`, with bytecode."""
    ran = subprocess.run([python, "-c", _LISTED, distribution], check=True, capture_output=True, text=True)
    for name in json.loads(ran.stdout):
        if name.endswith(PHOTO[0]):
            _copy(name, folder / PHOTO[1])
        if not name.endswith(".pyc") and (without is None or f"/site-packages/{without}" not in name):
            _copy(name, folder / name.lstrip("/"))
    compiled = ["-m", "compileall", "-q", "-s", str(folder), "-p", "/", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([python, *compiled, str(folder)], check=True)


def _copy(name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(name, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[5] if sys.argv[4:5] == ["--without"] else None)
