"""Turns core dumps off for every start of an environment's Python: a dump would hold face images and secrets.

    no_core_dumps.py ENVIRONMENT/bin/python

An image cannot set a limit of its processes, and there is no shell to do it before Python starts. A line of a `.pth`
file that begins with `import` is run by `site` before any other code of ours.
"""

# ruff: noqa: S603 - it runs while the image is built, and starts the programs of the base image.
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LINE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"


def main(python: str) -> None:
    """Writes the line into the environment of `python` and looks whether it works."""
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()
    Path(folder, "facegate_no_core_dumps.pth").write_text(LINE, "utf-8")
    shown = "import resource; assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)"
    subprocess.run([python, "-c", shown], check=True)


if __name__ == "__main__":
    main(sys.argv[1])
