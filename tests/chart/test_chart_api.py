"""A real Kubernetes API takes what the chart renders: run by `make chart-api`, which builds it first."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chart import (
    FOLDER,
    GOLDEN,
    MAJORS,
    SETS,
    Document,
    chart_with_examples,
    documents,
    pods,
    require_helm,
)
from tests.support.kubernetes import Cluster, Refusal, cluster

pytestmark = pytest.mark.kubernetes

# Where others' resources are served; their fields are those of the schemas beside these tests.
CUSTOM = {
    "Certificate": ("cert-manager.io", "v1", "certificates"),
    "ExternalSecret": ("external-secrets.io", "v1", "externalsecrets"),
    "GRPCRoute": ("gateway.networking.k8s.io", "v1", "grpcroutes"),
    "PrometheusRule": ("monitoring.coreos.com", "v1", "prometheusrules"),
    "ServiceMonitor": ("monitoring.coreos.com", "v1", "servicemonitors"),
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("kubernetes")) as made:
        for kind, place in CUSTOM.items():
            made.ask("POST", DEFINITIONS, _definition(kind, *place))
        yield made


def _definition(kind: str, group: str, version: str, plural: str) -> Document:
    schema = json.loads((FOLDER / "schemas" / f"{kind}.json").read_text("utf-8"))
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": _structural(schema["properties"]["spec"])}}
        },
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, made for a test"},
        },
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [served]},
    }


def _structural(schema: Any) -> Any:
    """The schema in the words that a definition may use. What it does not name is dropped, not refused, by the API."""
    match schema:
        case list():
            return [_structural(item) for item in schema]
        case {"type": [*_]}:
            return {"x-kubernetes-int-or-string": True}
        case {"enum": _}:
            return {"type": "string", **schema}
        case dict():
            return {key: _structural(item) for key, item in schema.items() if item is not False}
    return schema


def _helm(kubernetes: Cluster, major: str, *arguments: str | Path) -> str:
    command = [require_helm(major), *arguments, "--kubeconfig", kubernetes.kubeconfig]
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    # Helm prints what the API warns of, such as a pod that its namespace would not let in.
    assert "would violate" not in ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("major", MAJORS)
def test_is_installed(major: str, name: str, kubernetes: Cluster, tmp_path: Path) -> None:
    """Each set passes a dry run on the server, installs, upgrades, and is taken away again."""
    namespace = f"{name}-{major}"
    kubernetes.make_namespace(namespace)
    chart = chart_with_examples(tmp_path)
    release = ("faces", chart, "--namespace", namespace, "--values", GOLDEN / f"{name}.in.yaml")
    _helm(kubernetes, major, "install", *release, "--dry-run=server")
    _helm(kubernetes, major, "install", *release)
    _helm(kubernetes, major, "upgrade", *release)
    made = kubernetes.ask("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]
    assert len(made) == len([document for document in documents(name) if document["kind"] == "Deployment"])
    _helm(kubernetes, major, "uninstall", "faces", "--namespace", namespace)
    assert not kubernetes.ask("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]


@pytest.mark.parametrize("name", SETS)
def test_pods_are_let_in(name: str, kubernetes: Cluster) -> None:
    """Where "restricted" is enforced every pod is admitted, the one of `helm test` too; none has a token unasked."""
    namespace = f"{name}-pods"
    kubernetes.make_namespace(namespace)
    found = pods(documents(name))
    for account in {pod["spec"]["serviceAccountName"] for pod in found}:
        _account(kubernetes, namespace, account)
    for number, pod in enumerate(found):
        metadata = {"name": f"pod-{number}", "labels": pod["metadata"]["labels"]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict"
        admitted = kubernetes.ask("POST", path, body)
        asked = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        assert {volume["name"] for volume in admitted["spec"].get("volumes", ())} == asked


def _account(kubernetes: Cluster, namespace: str, name: str) -> None:
    kubernetes.ask("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})


def test_other_pods_are_not_let_in(kubernetes: Cluster) -> None:
    """The check above would see a pod that is not restricted."""
    kubernetes.make_namespace("closed")
    _account(kubernetes, "closed", "default")
    body = {"metadata": {"name": "open"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    with pytest.raises(Refusal, match="violates PodSecurity"):
        kubernetes.ask("POST", "/api/v1/namespaces/closed/pods?dryRun=All", body)
