"""What is put right before anything else is imported."""

from __future__ import annotations

import ast

import pytest

from gateway.telemetry import process_start
from tests.support.tools import ROOT


@pytest.fixture(autouse=True)
def nothing_removed() -> None:
    """The list is the process's."""
    process_start.take_removed()


@pytest.mark.parametrize(
    ("environ", "removed"),
    [
        ({"GRPC_TRACE": ""}, ["GRPC_TRACE"]),
        ({"GRPC_VERBOSITY": " Debug"}, ["GRPC_VERBOSITY"]),
        ({"GRPC_VERBOSITY": "INFO"}, ["GRPC_VERBOSITY"]),
        ({"GRPC_VERBOSITY": "ERROR"}, []),
        ({"SSLKEYLOGFILE": "/keys", "PYTHONASYNCIODEBUG": "1"}, ["SSLKEYLOGFILE", "PYTHONASYNCIODEBUG"]),
    ],
)
def test_harmful_variables_are_removed_and_named_once(environ: dict[str, str], removed: list[str]) -> None:
    """Whatever else is set stays as it is."""
    left = {name: value for name, value in environ.items() if name not in removed}
    given = {**environ, "HOME": "/home"}
    process_start.prepare(given)
    assert given == {**left, "HOME": "/home"}
    assert process_start.take_removed() == removed
    assert process_start.take_removed() == []


@pytest.mark.parametrize("path", ["gateway/__main__.py", "gateway/telemetry/process_start.py"])
def test_nothing_is_imported_before_it(path: str) -> None:
    """gRPC and OpenSSL read the environment when they are loaded; both files import the standard library's lightest."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    imported = {
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([one.name for one in node.names] if isinstance(node, ast.Import) else [str(node.module)])
    }
    assert imported <= {"__future__", "collections.abc", "gateway.cli.signals", "gateway.telemetry", "os", "sys"}
