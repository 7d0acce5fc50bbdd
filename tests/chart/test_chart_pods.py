"""What a platform team looks for in every pod, in every set of values."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.support.chart import OLDEST, SETS, Document, documents, gateway, of_kind, pods

pytestmark = [pytest.mark.helm, pytest.mark.parametrize("name", SETS)]


def _containers(pod: Document) -> list[Document]:
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def test_pods_meet_restricted(name: str) -> None:
    """Pod Security Standard "restricted", and beyond it: a read-only root, a numeric user, a limit of memory."""
    for pod in pods(documents(name)):
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] >= 1000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys()
        assert {next(iter(v.keys() - {"name"})) for v in pod["spec"].get("volumes", ())} <= {
            "configMap",
            "projected",
            "secret",
        }
        for container in _containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


def test_no_token_is_mounted_unasked(name: str) -> None:
    """No pod holds a ServiceAccount token, save the test that calls with one, for this gateway's audience only."""
    docs = documents(name)
    for account in of_kind(docs, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    for pod in pods(docs):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
        projected = [volume["projected"] for volume in pod["spec"].get("volumes", ()) if "projected" in volume]
        assert not projected or pod in of_kind(docs, "Pod")
        for volume in projected:
            assert all(source["serviceAccountToken"]["audience"] for source in volume["sources"])


def test_secrets_are_only_named(name: str) -> None:
    """No Secret is rendered, and nothing that looks like one."""
    docs = documents(name)
    assert not of_kind(docs, "Secret")
    text = yaml.safe_dump_all(docs)
    assert not re.search(r"PRIVATE KEY|(?i:password): *[^\s{/]|fg_|eyJ", text)


def test_selectors_find_the_right_pods(name: str) -> None:
    """A Service, a policy, a budget and a spread find the pods that they are for, and no others."""
    docs = documents(name)
    labels = [pod["metadata"]["labels"] for pod in pods(docs)]

    def found(selector: dict[str, str]) -> list[str]:
        return [one["app.kubernetes.io/component"] for one in labels if selector.items() <= one.items()]

    for service in of_kind(docs, "Service"):
        component = service["metadata"]["labels"]["app.kubernetes.io/component"]
        assert found(service["spec"]["selector"]) == [component], service["metadata"]["name"]
    for budget in of_kind(docs, "PodDisruptionBudget"):
        assert found(budget["spec"]["selector"]["matchLabels"]) == ["gateway"]
    for constraint in gateway(docs)["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
        assert found(constraint["labelSelector"]["matchLabels"]) == ["gateway"]
    for policy in of_kind(docs, "NetworkPolicy"):
        component = policy["metadata"]["labels"]["app.kubernetes.io/component"]
        assert set(found(policy["spec"]["podSelector"]["matchLabels"])) == {component}


def test_policies_name_every_peer_and_port(name: str) -> None:
    """No rule of a NetworkPolicy is open to every peer or every port."""
    for policy in of_kind(documents(name), "NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(direction, ()):
                assert rule["ports"]
                assert rule[peers]


def test_grace_period_fits_the_drain(name: str) -> None:
    """A pod is not killed before the lame duck, the drain and the last search at the vendor are over."""
    docs = documents(name)
    (text,) = (d["data"]["facegate.yaml"] for d in of_kind(docs, "ConfigMap") if "facegate.yaml" in d["data"])
    config = yaml.safe_load(text)
    spec = gateway(docs)["spec"]["template"]["spec"]
    stop = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    server, upstream = config["server"], config["upstream"]
    needed = stop + server["lame_duck_seconds"] + server["drain_seconds"] + upstream.get("timeout_seconds", 10)
    assert spec["terminationGracePeriodSeconds"] > needed


def test_probes_ask_the_health_port(name: str) -> None:
    """Probes are gRPC's own, on the plaintext health port, and liveness does not depend on readiness."""
    container = gateway(documents(name))["spec"]["template"]["spec"]["containers"][0]
    asked = {probe: container[f"{probe}Probe"]["grpc"] for probe in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in asked.values()} == {50052}
    assert [asked[probe]["service"] for probe in ("startup", "liveness", "readiness")] == ["liveness", "liveness", ""]


def test_old_kubernetes_gets_no_action_that_it_lacks(name: str) -> None:
    """Before 1.30 `sleep` is dropped by the API server, which then refuses the empty hook."""
    container = gateway(documents(name, OLDEST))["spec"]["template"]["spec"]["containers"][0]
    assert "sleep" not in container.get("lifecycle", {}).get("preStop", {})


def test_policy_lets_the_test_in(name: str) -> None:
    """`helm test` reaches the gateway's port whoever else may call."""
    docs = documents(name)
    for policy in of_kind(docs, "NetworkPolicy"):
        if policy["metadata"]["labels"]["app.kubernetes.io/component"] != "gateway":
            continue
        (rule,) = (r for r in policy["spec"]["ingress"] if r["ports"] == [{"port": "grpc", "protocol": "TCP"}])
        admitted = [peer["podSelector"]["matchLabels"].items() for peer in rule["from"] if "podSelector" in peer]
        for pod in of_kind(docs, "Pod"):
            assert any(labels <= pod["metadata"]["labels"].items() for labels in admitted)
