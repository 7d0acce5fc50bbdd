"""What docs/install.md tells to install is what the chart takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import CHART, gateway, of_kind, parse, render, require_helm
from tests.support.tools import ROOT

pytestmark = pytest.mark.helm

# The digest is cut short there, so that nobody installs it.
PAGE = (ROOT / "docs/install.md").read_text("utf-8").replace("9f86d081…", 32 * "9f")
PRODUCTION, *CALLERS = [
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """As Helm lays one file of values over another: mappings are merged, all else is replaced."""
    merged = {
        key: _over(below[key], value) if isinstance(value, dict) and key in below else value
        for key, value in above.items()
    }
    return below | merged


@pytest.mark.parametrize("values", [PRODUCTION, *(_over(PRODUCTION, values) for values in CALLERS)])
def test_examples_render(values: dict[str, Any], tmp_path: Path) -> None:
    """The values for static tokens render, and so does each way without secrets laid over them."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    docs = parse(render(require_helm("helm4"), file, chart=CHART))
    assert gateway(docs)["spec"]["replicas"] == 3
    assert of_kind(docs, "NetworkPolicy")


def test_there_is_an_example_for_each_way() -> None:
    """Static tokens, ServiceAccount tokens and SPIFFE ids."""
    ways = [values["tenants"][0]["principals"][0].keys() for values in (PRODUCTION, *CALLERS)]
    assert ways == [{"token_sha256"}, {"jwt_issuer", "jwt_subject"}, {"spiffe_id"}]
