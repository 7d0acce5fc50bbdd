"""Every render is valid for the oldest and the newest Kubernetes, and for the operators whose resources it makes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.support.chart import (
    CHART,
    FOLDER,
    HOW,
    NEWEST,
    OLDEST,
    SETS,
    Document,
    documents,
    of_kind,
    parse,
    render,
    require_helm,
)
from tests.support.tools import require_tool

pytestmark = pytest.mark.helm

SCHEMAS = {path.stem: json.loads(path.read_text("utf-8")) for path in (FOLDER / "schemas").glob("*.json")}


def _custom(document: Document) -> bool:
    return document["kind"] in SCHEMAS


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_valid(version: str, tmp_path: Path) -> None:
    """Kubernetes' own schemas take every object of every set, and know every field of it."""
    validate = require_tool("kubernetes-validate", HOW)
    files = []
    for name in SETS:
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(d for d in documents(name, version) if not _custom(d)), "utf-8")
        files.append(str(file))
    ran = subprocess.run([validate, "-k", version, "--strict", *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_wrong_field_is_found(tmp_path: Path) -> None:
    """The check above would see a field that Kubernetes does not know."""
    validate = require_tool("kubernetes-validate", HOW)
    (service, *_) = of_kind(documents("default"), "Service")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({**service, "spec": {**service["spec"], "clusterip": "None"}}), "utf-8")
    ran = subprocess.run([validate, "-k", NEWEST, "--strict", wrong], capture_output=True, text=True, check=False)
    assert ran.returncode != 0


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_every_custom_resource_is_valid(kind: str) -> None:
    """The fields that the chart writes into others' resources are theirs; each kind is in some set."""
    found = [document for name in SETS for document in of_kind(documents(name), kind)]
    assert found
    for document in found:
        Draft202012Validator(SCHEMAS[kind]).validate(document)


def test_shipped_rules_and_dashboards_are_valid() -> None:
    """Every file of rules/ and dashboards/ becomes an object, whole, and none of its own templates is lost in Helm's."""
    docs = parse(render(require_helm("helm4"), "monitoring"))
    rules = {document["metadata"]["name"]: document for document in of_kind(docs, "PrometheusRule")}
    for file in (CHART / "rules").glob("*.yaml"):
        document = rules.pop(f"faces-facegate-{file.stem}")
        Draft202012Validator(SCHEMAS["PrometheusRule"]).validate(document)
        text = file.read_text("utf-8").replace('job="facegate"', 'job="faces",namespace="search"')
        text = text.replace("< 86400", "< 10800").replace("docs/operations.md#", "https://wiki.example/ops#")
        assert document["spec"] == yaml.safe_load(text)
        for rule in document["spec"]["groups"][0]["rules"]:
            assert 'job="faces",namespace="search"' in rule["expr"]
            assert rule["annotations"]["runbook_url"].startswith("https://wiki.example/ops#facegate")
    assert not rules
    shown = {
        name: text for d in of_kind(docs, "ConfigMap") for name, text in d["data"].items() if name.endswith(".json")
    }
    for file in (CHART / "dashboards").glob("*.json"):
        assert json.loads(shown.pop(file.name)) == json.loads(file.read_text("utf-8"))
    assert not shown
