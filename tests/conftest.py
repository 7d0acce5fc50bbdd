"""What every test shares: only the settings of its tools."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.tools import require_tool

# CI draws the same examples each time, so that a red run says something about the change; a developer's run explores.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")

_ATTEMPTS = 3


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that asserts a time has three attempts: one stall of a machine that others use too decides nothing."""
    repeats = config.pluginmanager.hasplugin("rerunfailures")
    for item in items:
        if repeats and item.get_closest_marker("timed"):
            item.add_marker(pytest.mark.flaky(reruns=_ATTEMPTS - 1))


@pytest.fixture
def promtool() -> Path:
    """Prometheus's checker."""
    return require_tool("promtool", "apt-get install prometheus")


@pytest.fixture
def chromium() -> Path:
    """A browser."""
    return require_tool("chromium", "apt-get install chromium")
