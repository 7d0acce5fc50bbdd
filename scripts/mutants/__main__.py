"""`make mutants`: takes one protection out at a time and expects a test to notice.

Each `*.patch` in this folder takes one protection out of the code. Its first lines say which, and which test must fail:

    Protection: what is taken out
    Test: tests/unit/quota/test_late_looks.py::test_a_late_event_loop_is_no_time_out

The patches are applied one after the other to a copy of the working tree, never to the tree itself. A mutant is *killed* if
the test fails, *survives* if it passes, and is *broken* if the patch does not apply or the test does not end. Exits with 1
unless all are killed. A patch that no longer applies has to be made again: change the code, `git diff -U1`, undo the change.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
# Longer than any named test takes; a test that waits for ever is no test of a time-out.
TEST_SECONDS = 120
_USUAL_SECONDS = 10
_PASSED, _FAILED = 0, 1


@dataclass(frozen=True)
class Mutant:
    """A patch with what its header says."""

    patch: Path
    protection: str
    test: str

    @classmethod
    def of(cls, patch: Path) -> Mutant:
        """Reads a patch's header. Raises `ValueError` if it names no protection or no test."""
        head = patch.read_text().partition("\n--- ")[0]
        found = {name: re.search(rf"^{name}: (.+)$", head, re.MULTILINE) for name in ("Protection", "Test")}
        protection, test = found["Protection"], found["Test"]
        if protection is None or test is None:
            raise ValueError(f"{patch.name} needs a line `Protection: ...` and a line `Test: ...` before its diff")
        return cls(patch, protection[1], test[1])


def mutants(names: Sequence[str] = ()) -> list[Mutant]:
    """All mutants, or those whose file names begin with one of `names`."""
    patches = sorted(FOLDER.glob("*.patch"))
    return [Mutant.of(patch) for patch in patches if not names or patch.name.startswith(tuple(names))]


def main(arguments: Sequence[str]) -> int:
    """Tries the mutants, and prints a line for each."""
    parser = argparse.ArgumentParser("python -m scripts.mutants", description="Takes protections out; tests must fail.")
    parser.add_argument("names", nargs="*", help="only the patches whose names begin like this")
    chosen = mutants(parser.parse_args(arguments).names)
    with tempfile.TemporaryDirectory(prefix="facegate-mutants-") as folder:
        copy = Path(folder)
        _copy_tree(copy)
        tests = sorted({one.test for one in chosen})
        if _run(copy, tests, TEST_SECONDS + _USUAL_SECONDS * len(tests), shown=True) != _PASSED:
            _say("the tests fail without any mutant: no mutant was tried")
            return 1
        verdicts = {}
        for mutant in chosen:
            verdicts[mutant] = _try(copy, mutant)
            _say(f"{verdicts[mutant]:9} {mutant.patch.stem:32} {mutant.protection}")
    killed = sum(verdict == "killed" for verdict in verdicts.values())
    _say(f"{killed} of {len(chosen)} mutants were killed")
    return int(killed != len(chosen))


def _copy_tree(into: Path) -> None:
    """The files that git knows or would take, as they are in the working tree."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        source, target = ROOT / name, into / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    # Tests look for tools here.
    (into / ".venv").symlink_to(ROOT / ".venv")


def _try(copy: Path, mutant: Mutant) -> str:
    apply = ["git", "apply", "--unidiff-zero", str(mutant.patch)]
    if subprocess.run(apply, cwd=copy, check=False, capture_output=True).returncode:
        return "broken"
    try:
        status = _run(copy, [mutant.test], TEST_SECONDS)
    finally:
        subprocess.run([*apply, "--reverse"], cwd=copy, check=True, capture_output=True)
    return {_PASSED: "survives", _FAILED: "killed"}.get(status, "broken")


def _run(copy: Path, tests: Sequence[str], seconds: float, *, shown: bool = False) -> int:
    """pytest's status: 0 all passed, 1 some failed; or -1 if it did not end. What it prints is `shown` or dropped."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:rerunfailures", *tests]
    try:
        return subprocess.run(command, cwd=copy, check=False, capture_output=not shown, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return -1


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201 - what the command is for


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
