"""Every value is described, used, and in the generated pages."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.chart.docs import CHART, pages
from scripts.chart.values import Undescribed, Value, read_values
from tests.support.chart import GOLDEN, SETS, render, require_helm
from tests.support.tools import ROOT

# A path of values in a template, from the root or by way of the variables that stand for it.
_USED = re.compile(r"\$?\.Values\.([A-Za-z0-9_.]+)|\$v(?:alues)?\.([A-Za-z0-9_.]+)")
# Read by a computed key (`index .Values.valkey $name`), by Helm itself, or as a whole that a parent chart fills.
_COMPUTED = {"valkey.quota.enabled", "valkey.cache.enabled", "enabled", "global"}
# Of a kind that a golden render cannot have beside another one: see test_chart_other_clusters.py.
_IN_A_TEST_OF_ITS_OWN = {"enabled", "podMonitor.enabled", "securityContext"}


def _leaves() -> list[Value]:
    return [leaf for value in read_values(CHART / "values.yaml") for leaf in value.leaves()]


def _templates() -> str:
    files = [*(CHART / "templates").rglob("*.yaml"), *(CHART / "templates").rglob("*.tpl")]
    return "\n".join(file.read_text("utf-8") for file in files)


def _used() -> set[str]:
    return {(one or other).rstrip(".") for one, other in _USED.findall(_templates())}


@pytest.mark.parametrize("value", _leaves(), ids=lambda value: value.name)
def test_every_value_is_used(value: Value) -> None:
    """A template reads each value; the gateway's own settings are handed on as a whole."""
    used = _used()
    handed_on = value.path[0] == "config" and "config" in used
    assert handed_on or value.name in used or value.name in _COMPUTED


def test_every_value_is_in_a_set() -> None:
    """Each value is other than its default in some set, so its effect is in a golden render."""
    sets = [yaml.safe_load((GOLDEN / f"{name}.in.yaml").read_text("utf-8")) for name in SETS]
    unseen = {leaf.name for leaf in _leaves() if all(_at(values, leaf) == leaf.default for values in sets)}
    assert unseen == _IN_A_TEST_OF_ITS_OWN


def _at(values: Any, leaf: Value) -> Any:
    for key in leaf.path:
        if key not in values:
            return leaf.default
        values = values[key]
    return values


@pytest.mark.helm
def test_a_blank_value_is_an_absent_one(tmp_path: Path) -> None:
    """What has a blank default may be set to null, as generated values do; the schema refuses it of all others."""
    blank: dict[str, Any] = {}
    for leaf in _leaves():
        inner = blank
        for key in leaf.path[:-1]:
            inner = inner.setdefault(key, {})
        if not leaf.default:
            inner[leaf.path[-1]] = None
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(blank), "utf-8")
    helm = require_helm("helm4")
    assert render(helm, file, chart=CHART) == render(helm, "default", chart=CHART)


def test_versions_agree() -> None:
    """The chart installs the image that `make image` builds."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["appVersion"] == project["version"]


def test_every_value_that_is_used_exists() -> None:
    """A template reads no value that is not in values.yaml, so a typing error in one does not go unnoticed."""
    known = {leaf.name for leaf in _leaves()}
    known |= {name.rpartition(".")[0] for name in known}
    known |= {name.rpartition(".")[0] for name in known}
    # Of the gateway's settings and of what Kubernetes defines, those that decide something else of the chart.
    inside = {"config.upstream", "config.auth", "config.cache", "config.server", "config.telemetry"}
    inside |= {"resources.requests", "resources.limits", "strategy.type"}
    assert _used() - known - inside == set()


def test_every_value_is_described() -> None:
    """Each value has a sentence, which ends."""
    assert not [leaf.name for leaf in _leaves() if not leaf.description.endswith(".")]


def test_a_value_without_a_sentence_is_refused(tmp_path: Path) -> None:
    """The generator does not write a page with a gap."""
    bare = tmp_path / "values.yaml"
    bare.write_text("# Described.\na: 1\nb: 2\n", "utf-8")
    with pytest.raises(Undescribed, match="b has no comment"):
        read_values(bare)


@pytest.mark.parametrize("page", ["README.md", "values.schema.json"])
def test_readme_and_schema_are_up_to_date(page: str) -> None:
    """Both are what values.yaml and the gateway's settings give now."""
    assert (CHART / page).read_text("utf-8") == pages()[page]
