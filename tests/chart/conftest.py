"""Most of these tests need Helm; they run by `make chart`, which gets it, and not with every `make test`.

Those against a real Kubernetes API run by `make chart-api` alone: building it takes some minutes.
"""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "helm: needs Helm and its like; run by `make chart`")
    config.addinivalue_line("markers", "kubernetes: needs a Kubernetes API; run by `make chart-api`")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, variable, target in (("helm", "CHART_TESTS", "chart"), ("kubernetes", "CHART_API_TESTS", "chart-api")):
        if os.environ.get(variable) == "1":
            continue
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"run by `make {target}`"))
