"""The chart as other people's clusters use it: as a part of another chart, with their registries, users and controllers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import (
    CHART,
    MAJORS,
    Document,
    Refused,
    gateway,
    of_kind,
    parse,
    pods,
    render,
    require_helm,
)

pytestmark = [pytest.mark.helm, pytest.mark.parametrize("major", MAJORS)]

TENANT = {"id": "kyc", "principals": [{"token_sha256": "9f" * 32}], "face_sets": {"employees": "kyc-prod"}}


def rendered(major: str, folder: Path, values: str | dict[str, Any], chart: Path = CHART) -> tuple[Document, ...]:
    """The manifests for these values; a text is YAML as somebody wrote it."""
    file = folder / "values.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values), "utf-8")
    return parse(render(require_helm(major), file, chart=chart))


def parent_of_the_chart(folder: Path) -> Path:
    """A chart that has this one as a part, under a condition."""
    parent = folder / "platform"
    shutil.copytree(CHART, parent / "charts" / "facegate")
    dependency = {"name": "facegate", "version": "0.1.0", "condition": "facegate.enabled"}
    chart = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (parent / "Chart.yaml").write_text(yaml.safe_dump(chart), "utf-8")
    (parent / "values.yaml").write_text("", "utf-8")
    return parent


def test_it_is_a_part_of_another_chart(major: str, tmp_path: Path) -> None:
    parent = parent_of_the_chart(tmp_path)
    shared = {"imageRegistry": "registry.corp.example", "imagePullSecrets": [{"name": "pull"}], "storageClass": "fast"}
    docs = rendered(
        major,
        tmp_path,
        {"facegate": {"enabled": True, "valkey": {"quota": {"enabled": True}}}, "global": shared},
        parent,
    )
    for pod in pods(docs):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
        images = [one["image"] for one in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])]
        assert {image.partition("/")[0] for image in images} == {"registry.corp.example"}
    assert not rendered(major, tmp_path, {"facegate": {"enabled": False}}, parent)


@pytest.mark.parametrize(
    ("repository", "expected"),
    [
        ("localhost/facegate", "mirror.example/facegate:0.1.0"),
        ("ghcr.io/corp/facegate", "mirror.example/corp/facegate:0.1.0"),
        ("registry:5000/facegate", "mirror.example/facegate:0.1.0"),
        ("corp/facegate", "mirror.example/corp/facegate:0.1.0"),
        ("facegate", "mirror.example/facegate:0.1.0"),
    ],
)
def test_the_registry_that_all_charts_share_goes_first(
    major: str, repository: str, expected: str, tmp_path: Path
) -> None:
    values = {"global": {"imageRegistry": "mirror.example/"}, "image": {"repository": repository}}
    docs = rendered(major, tmp_path, values)
    assert gateway(docs)["spec"]["template"]["spec"]["containers"][0]["image"] == expected


def test_a_cluster_chooses_the_users_itself(major: str, tmp_path: Path) -> None:
    """As OpenShift does: null takes a default away, and the rest stays."""
    nothing = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    docs = rendered(major, tmp_path, {"podSecurityContext": nothing, "securityContext": {"runAsNonRoot": True}})
    pod = gateway(docs)["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_an_update_in_one_go_has_no_steps(major: str, tmp_path: Path) -> None:
    """The API refuses `rollingUpdate` with another type, and the chart's default has one."""
    docs = rendered(major, tmp_path, {"strategy": {"type": "Recreate"}})
    assert gateway(docs)["spec"]["strategy"] == {"type": "Recreate"}


def test_another_controller_sets_the_number(major: str, tmp_path: Path) -> None:
    """The Deployment names none, or each upgrade would set it back; limits count on the most that there may be."""
    values = {"autoscaling": {"external": True, "maxReplicas": 6}, "valkey": {"quota": {"enabled": True}}}
    docs = rendered(major, tmp_path, values)
    assert "replicas" not in gateway(docs)["spec"]
    assert not of_kind(docs, "HorizontalPodAutoscaler")
    texts = [text for one in of_kind(docs, "ConfigMap") for text in one["data"].values()]
    assert any(yaml.safe_load(text).get("quota", {}).get("expected_replicas") == 6 for text in texts)


def test_metrics_are_found_by_pods_too(major: str, tmp_path: Path) -> None:
    more = {"relabelings": [{"action": "labeldrop", "regex": "pod"}], "metricRelabelings": [{"action": "keep"}]}
    (monitor,) = of_kind(
        rendered(major, tmp_path, {"podMonitor": {"enabled": True}, "serviceMonitor": more}), "PodMonitor"
    )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"][0]["replacement"] == "facegate"
    assert endpoint["relabelings"][1:] == more["relabelings"]
    assert endpoint["metricRelabelings"] == more["metricRelabelings"]


def test_a_route_leads_to_health_and_reflection(major: str, tmp_path: Path) -> None:
    route = {"enabled": True, "parentRefs": [{"name": "public"}], "reflection": True}
    (found,) = of_kind(rendered(major, tmp_path, {"grpcRoute": route}), "GRPCRoute")
    services = {match["method"]["service"] for rule in found["spec"]["rules"] for match in rule["matches"]}
    assert services == {
        "facegate.search.v1.FaceSearchService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_the_vendor_is_reached_over_either_family(major: str, tmp_path: Path) -> None:
    values = {"networkPolicy": {"enabled": True}, **yaml.safe_load(PRODUCTION)}
    (policy,) = of_kind(rendered(major, tmp_path, values), "NetworkPolicy")
    blocks = [peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "2000::/3"]


def test_names_that_yaml_takes_for_true_are_kept(major: str, tmp_path: Path) -> None:
    """A name in quotes stays as it is; without them YAML has changed it before Helm sees it, and two become one."""
    quoted = 'tenants: [{id: kyc, principals: [{token_sha256: %s}], face_sets: {"y": a, "no": b, "on": c}}]' % (
        "9f" * 32
    )
    (settings,) = [
        one["data"] for one in of_kind(rendered(major, tmp_path, quoted), "ConfigMap") if "facegate.yaml" in one["data"]
    ]
    (tenant,) = yaml.safe_load(settings["facegate.yaml"])["tenants"]
    assert tenant["face_sets"] == {"y": "a", "no": "b", "on": "c"}
    with pytest.raises(Refused, match="put the name in quotes"):
        rendered(major, tmp_path, quoted.replace('"', ""))


PRODUCTION = """
sandbox: {enabled: false}
credentials: [{name: a, secretName: a}]
tls: {insecure: true}
tenants: [{id: kyc, principals: [{token_sha256: %s}], face_sets: {employees: kyc-prod}}]
""" % ("9f" * 32)

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a tag in the repository": (
        {"image": {"repository": "corp/facegate:1.2"}},
        "image.repository: holds a tag or a digest",
    ),
    "a digest in the repository": ({"sandbox": {"image": {"repository": "a@sha256:00"}}}, "sandbox.image.repository"),
    "metrics read twice": (
        {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
        "set serviceMonitor.enabled=false",
    ),
    "two that scale": (
        {"autoscaling": {"enabled": True, "external": True}, "valkey": {"quota": {"enabled": True}}},
        "set autoscaling.enabled=false",
    ),
    "a mount over the chart's": (
        {"extraVolumeMounts": [{"name": "a", "mountPath": "/etc/facegate/config"}]},
        "choose another path",
    ),
    "IPv6 for a listener that has none": ({"service": {"ipFamilies": ["IPv6"]}}, 'set it to "[::]"'),
    "a number as a variable's value": ({"extraEnv": [{"name": "A", "value": 1}]}, "extraEnv"),
    "a setting as a variable": (
        {"extraEnv": [{"name": "FACEGATE_OPS__LISTEN", "value": "a"}]},
        "set it below `config`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_refused(major: str, case: str, tmp_path: Path) -> None:
    values, said = REFUSED[case]
    with pytest.raises(Refused) as refused:
        rendered(major, tmp_path, values)
    assert said in str(refused.value)
