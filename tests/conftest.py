"""What every test shares: only the settings of its tools."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# CI draws the same examples each time, so that a red run says something about the change; a developer's run explores.
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")
