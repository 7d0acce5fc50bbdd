"""Most of these tests need Helm; they run by `make chart`, which gets it, and not with every `make test`."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "helm: needs Helm and its like; run by `make chart`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("CHART_TESTS") == "1":
        return
    for item in items:
        if item.get_closest_marker("helm"):
            item.add_marker(pytest.mark.skip(reason="run by `make chart`"))
