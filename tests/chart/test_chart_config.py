"""The configuration that the chart writes is one that the gateway starts with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.main import run
from tests.support.chart import CHART, SETS, Document, documents, gateway, of_kind, parse, render, require_helm
from tests.support.pki import Authority

pytestmark = pytest.mark.helm

MOUNTED = "/etc/facegate"


def _written(docs: tuple[Document, ...]) -> str:
    (text,) = (d["data"]["facegate.yaml"] for d in of_kind(docs, "ConfigMap") if "facegate.yaml" in d["data"])
    assert isinstance(text, str)
    return text


def _mounted_files(docs: tuple[Document, ...]) -> set[str]:
    """Every file that the pod will find, as far as the chart says."""
    spec = gateway(docs)["spec"]["template"]["spec"]
    places = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    found = set()
    for volume in spec["volumes"]:
        source = volume.get("secret") or volume["configMap"]
        found |= {f"{places[volume['name']]}/{item['path']}" for item in source.get("items", ())}
    return found


@pytest.mark.parametrize("name", SETS)
def test_written_configuration_is_good(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`facegate config check` passes, with the files where the chart mounts them and the variables that it sets."""
    docs = documents(name)
    _make_files(_mounted_files(docs) | {f"{MOUNTED}/jwks/jwks.json"}, tmp_path)
    for variable in gateway(docs)["spec"]["template"]["spec"]["containers"][0].get("env", ()):
        monkeypatch.setenv(variable["name"], variable.get("value", "of the pod"))
    file = tmp_path / "facegate.yaml"
    file.write_text(_written(docs).replace(MOUNTED, str(tmp_path)), "utf-8")
    status = run(["config", "check", str(file)])
    assert status == 0, capsys.readouterr().err


def _make_files(names: set[str], folder: Path) -> None:
    authority = Authority()
    pair = authority.server()
    contents = {
        "tls.crt": pair.certificate,
        "tls.key": pair.key,
        "ca.crt": authority.pem,
        "key": os.urandom(32),
        "jwks.json": json.dumps({"keys": []}).encode(),
    }
    for name in names:
        file = folder / name.removeprefix(f"{MOUNTED}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents.get(file.name, b"a secret"))


@pytest.mark.parametrize("name", SETS)
def test_every_file_that_is_named_is_mounted(name: str) -> None:
    """No setting names a file that the pod would lack, and nothing is mounted that no setting names."""
    docs = documents(name)
    named = {value for value in _texts(yaml.safe_load(_written(docs))) if value.startswith(f"{MOUNTED}/")}
    # The key sets' file names are the ConfigMap's keys, which the chart does not know.
    keys = {value for value in named if value.startswith(f"{MOUNTED}/jwks/")}
    assert named - keys == _mounted_files(docs)


def _texts(value: Any) -> list[str]:
    match value:
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
        case str():
            return [value]
    return []


def test_tenants_are_taken_up_without_a_restart(tmp_path: Path) -> None:
    """A change of the tenants leaves the pod as it is; a change of any other setting makes a new one."""

    def pod(**values: Any) -> Document:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values), "utf-8")
        template: Document = gateway(parse(render(require_helm("helm4"), file, chart=CHART)))["spec"]["template"]
        return template

    tenant = {"id": "a", "principals": [{"token_sha256": "0" * 64}]}
    before = pod(tenants=[tenant])
    assert pod(tenants=[tenant, {"id": "b"}]) == before
    assert pod(tenants=[tenant], config={"cache": {"ttl_seconds": 5}}) != before
