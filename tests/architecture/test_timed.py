"""The mark `timed` gives a test three attempts, and only tests that assert times may have them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.tracked import python_files, tracked_files
from tests.support.tools import ROOT

MEASURES = {
    *("monotonic", "perf_counter", "perf_counter_ns", "process_time", "thread_time"),
    *("lateness", "Lateness", "percentile", "seconds", "slowest"),
}
"""Names of which a marked test, or what it calls of its own module, uses at least one."""
RERUNS = re.compile(r"\bflaky\b\s*\(|\breruns?\s*=|--(?:force-)?reruns|only.rerun")
GIVES_RERUNS = Path("tests/conftest.py")

ATTEMPTS = """
import pytest
from pathlib import Path

def attempts(name):
    file = Path(__file__).with_name(name)
    file.write_text((file.read_text() if file.exists() else "") + "x")
    return len(file.read_text())

@pytest.mark.timed
def test_holds_at_last(): assert attempts("third") == 3

@pytest.mark.timed
def test_never_holds(): assert attempts("never") == 0

def test_is_not_marked(): assert attempts("unmarked") == 2
"""


def names_in(node: ast.AST) -> set[str]:
    """Every name and attribute in a piece of code."""
    found = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def is_timed(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "timed" and "mark" in names_in(node)


def measures(test: ast.AST, functions: dict[str, ast.AST]) -> bool:
    """Whether a test, or a function or class of its module that it uses, measures a time."""
    waiting, seen = [test], set[str]()
    while waiting:
        names = names_in(waiting.pop())
        if names & MEASURES:
            return True
        waiting += [functions[name] for name in names - seen if name in functions]
        seen |= names
    return False


def faults_of(text: str) -> list[str]:
    """What is marked and may not be."""
    tree = ast.parse(text)
    definitions = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    functions: dict[str, ast.AST] = {node.name: node for node in definitions}
    marks = sum(is_timed(node) for node in ast.walk(tree))
    marked = [node for node in definitions if any(is_timed(decorator) for decorator in node.decorator_list)]
    faults = [node.name for node in marked if not node.name.startswith("test_") or not measures(node, functions)]
    return faults if len(marked) == marks else [*faults, "a mark that is not on one test alone"]


def test_only_tests_that_assert_times_are_marked() -> None:
    """The mark is on single tests, each of which measures; so no test gets attempts for another reason."""
    marked = [
        (path, text) for path, text in python_files("tests") if "mark.timed" in text and path.name != "test_timed.py"
    ]
    assert marked
    assert not {str(path): faults for path, text in marked if (faults := faults_of(text))}


def test_a_mark_without_a_measurement_is_found() -> None:
    """The rule above sees what it is for."""
    assert faults_of("@pytest.mark.timed\ndef test_a():\n    assert f()\ndef f(): return 1\n") == ["test_a"]
    assert faults_of("@pytest.mark.timed\ndef test_a():\n    assert f()\ndef f(): return time.monotonic()\n") == []
    assert len(faults_of("pytestmark = pytest.mark.timed\ndef test_a(): time.monotonic()\n")) == 1


def test_nothing_else_is_run_again() -> None:
    """Neither a test nor an option of the runner: the mark is the only way to a second attempt."""
    places = [
        path for path in tracked_files() if path.parts[0] in {"tests", "Makefile", "pyproject.toml", ".ci", "scripts"}
    ]
    users = {
        path
        for path in places
        if path.name != "test_timed.py" and RERUNS.search((ROOT / path).read_text("utf-8", errors="replace"))
    }
    assert users == {GIVES_RERUNS}


def test_a_marked_test_has_three_attempts_and_others_one(tmp_path: Path) -> None:
    """One that fails three times fails: without its protection a test is as red as ever. Each attempt is reported."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_collection_modifyitems\n")
    (tmp_path / "test_attempts.py").write_text(ATTEMPTS)
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command += ["-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    counts = {name: len((tmp_path / name).read_text()) for name in ("third", "never", "unmarked")}
    assert counts == {"third": 3, "never": 3, "unmarked": 1}, done.stdout
    assert "2 failed, 1 passed, 4 rerun" in done.stdout
    assert done.stdout.count("RERUN ") == 4
