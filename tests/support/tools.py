"""Tools from outside Python that some tests need."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# `.ci/run` installs here what no package of ours brings.
LOCAL_BIN = ROOT / ".cache" / "bin"
VENV_BIN = ROOT / ".venv" / "bin"


def require_tool(name: str, how_to_install: str) -> Path:
    """The path of the program `name`.

    Without it the calling test is skipped and says how to install it; under `CI=true` it fails, since a check that
    silently does not run is no check.
    """
    path = os.pathsep.join([str(LOCAL_BIN), str(VENV_BIN), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    if found is not None:
        return Path(found)
    message = f"{name} is not installed; to run this test: {how_to_install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
