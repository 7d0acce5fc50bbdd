"""Rules of imports that import-linter cannot express: it sees an external package as one module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.tracked import python_files

# The module outside, and which of the gateway's folders may import it.
ALLOWED = {
    "aiohttp.web": ("gateway/ops", "gateway/sandbox"),
    "unittest.mock": (),
    "PIL": ("gateway/sandbox", "tests", "bench"),
}


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("module", ALLOWED)
def test_is_imported_only_where_it_belongs(module: str) -> None:
    """Each of these modules has its place; the tests use fakes and real servers, never mocks."""
    folders = ("gateway",) if module == "aiohttp.web" else ("gateway", "tests", "bench", "clients")
    strangers: list[Path] = []
    for path, text in python_files(*folders):
        names = _imported(ast.parse(text))
        imports_it = any(name == module or name.startswith(f"{module}.") for name in names)
        if imports_it and not path.as_posix().startswith(ALLOWED[module]):
            strangers.append(path)
    assert not strangers
