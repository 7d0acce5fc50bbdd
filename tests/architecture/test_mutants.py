"""The protections that `make mutants` takes out: each patch says what it does and fits the code as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.mutants.__main__ import FOLDER, ROOT, Mutant

PATCHES = sorted(FOLDER.glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_names_a_test_and_applies(patch: Path) -> None:
    """A patch that no longer applies is made again: change the code, `git diff -U1`, undo the change."""
    mutant = Mutant.of(patch)
    file, _, name = mutant.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text()
    applied = subprocess.run(["git", "apply", "--check", patch], cwd=ROOT, check=False, capture_output=True, text=True)
    assert not applied.returncode, applied.stderr
