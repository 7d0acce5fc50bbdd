"""Values that do not exist, or that do not go together, are refused with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.chart import MAJORS, Refused, render, require_helm

pytestmark = pytest.mark.helm

TENANT: dict[str, Any] = {"id": "kyc", "principals": [{"token_sha256": "9f" * 32}], "face_sets": {"a": "b"}}
PRODUCTION: dict[str, Any] = {
    "sandbox": {"enabled": False},
    "credentials": [{"name": "primary", "secretName": "vendor"}],
    "tenants": [TENANT],
    "tls": {"secretName": "server"},
}
PUBLIC = "c6af2caed0ec9926c3274f455366814a85fe406c6def2359fabf7e26473415f3"
ISSUED = {"id": "kyc", "principals": [{"jwt_issuer": "https://a.example", "jwt_subject": "b"}]}
CERTIFIED = {"id": "kyc", "principals": [{"spiffe_id": "spiffe://corp.example/a"}]}
ISSUER = {"issuer": "https://a.example", "audience": "facegate", "jwks_url": "https://a.example/keys"}
KEYS = {"issuer": "https://a.example", "audience": "facegate", "jwks_file": "/etc/facegate/jwks/jwks.json"}
MUTUAL = {"secretName": "server", "clientCa": {"configMapName": "bundle"}}
SCALED = {"valkey": {"quota": {"enabled": True}}, "autoscaling": {"enabled": True}}

IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "credentials beside the sandbox": ({"credentials": PRODUCTION["credentials"]}, "set sandbox.enabled=false"),
    "an address beside the sandbox": (
        {"config": {"upstream": {"base_url": "https://a.example"}}},
        "sandbox.enabled=false",
    ),
    "no credentials": ({**PRODUCTION, "credentials": []}, "credentials: is empty"),
    "no tenants": ({**PRODUCTION, "tenants": []}, "tenants: is empty"),
    "plaintext by accident": ({**PRODUCTION, "tls": {}}, "in plaintext: set tls.secretName"),
    "plaintext and a certificate": ({**PRODUCTION, "tls": {"secretName": "a", "insecure": True}}, "remove one of them"),
    "client certificates without TLS": ({"tls": {"clientCa": {"configMapName": "a"}}}, "tls.clientCa: needs TLS"),
    "a certificate of nobody": ({"certificate": {"enabled": True}}, "certificate.issuerRef.name: is required"),
    "a limit times the replicas": ({"replicaCount": 3}, "would admit 3 times every limit"),
    "a limit times the most replicas": ({"autoscaling": {"enabled": True, "maxReplicas": 5}}, "would admit 5 times"),
    "two stores of the quotas": (
        {"valkey": {"quota": {"enabled": True}}, "stores": {"quota": {"url": "valkey://a:6379/0"}}},
        "beside valkey.quota.enabled",
    ),
    "a password of memory": ({"stores": {"quota": {"passwordSecret": {"name": "a"}}}}, "memory has no password"),
    "a shared cache without a key": (
        {"valkey": {"cache": {"enabled": True}}},
        "stores.sealingKey.secretName: is required",
    ),
    "bounds the wrong way round": (
        {"valkey": {"quota": {"enabled": True}}, "autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}},
        "is above autoscaling.maxReplicas",
    ),
    "scaled by nothing": (
        {"valkey": {"quota": {"enabled": True}}, "autoscaling": {"enabled": True, "cpuUtilization": 0}},
        "has no measure",
    ),
    "a route of no Gateway": ({"grpcRoute": {"enabled": True}}, "name a Gateway"),
    "secrets from nowhere": ({"externalSecrets": {"enabled": True}}, "externalSecrets.storeRef.name: is required"),
    "killed while it drains": ({"terminationGracePeriodSeconds": 20}, "the drain needs 47 s"),
    "two credentials of the test": ({"test": {"audience": "a", "tokenSecret": {"name": "b"}}}, "remove one of them"),
    "a SPIFFE id that nothing shows": ({**PRODUCTION, "tenants": [CERTIFIED]}, "set tls.clientCa.configMapName"),
    "an issuer that is not there": ({**PRODUCTION, "tenants": [ISSUED]}, "add it to config.auth.jwt_issuers"),
    "a vendor in plaintext": (
        {**PRODUCTION, "config": {"upstream": {"base_url": "http://a.example"}}},
        "it begins with https://",
    ),
    "a principal of two kinds": (
        {"tenants": [{"id": "kyc", "principals": [{**TENANT["principals"][0], "spiffe_id": "spiffe://a/b"}]}]},
        "is not exactly one of",
    ),
    "a principal without its subject": (
        {
            "config": {"auth": {"jwt_issuers": [ISSUER]}},
            "tenants": [{"id": "a", "principals": [{"jwt_issuer": ISSUER["issuer"]}]}],
        },
        "is not exactly one of",
    ),
    "keys from two places": (
        {"config": {"auth": {"jwt_issuers": [{**ISSUER, **KEYS}]}}, "jwks": {"configMapName": "a"}},
        "needs exactly one of jwks_url and jwks_file",
    ),
    "no match kept longer than a match": (
        {"config": {"cache": {"ttl_seconds": 30, "no_match_ttl_seconds": 31}}},
        "no_match_ttl_seconds: is above ttl_seconds",
    ),
    "credentials of one name": (
        {**PRODUCTION, "credentials": 2 * PRODUCTION["credentials"]},
        "primary is the name of two",
    ),
    "tenants of one id": ({"tenants": [TENANT, {"id": "kyc"}]}, "kyc is the id of two"),
    "one token of two tenants": ({"tenants": [TENANT, {**TENANT, "id": "other"}]}, "belongs to one tenant, once"),
    "a foreign SPIFFE id": (
        {**PRODUCTION, "tls": MUTUAL, "tenants": [CERTIFIED], "config": {"auth": {"spiffe_trust_domain": "b.example"}}},
        "outside config.auth.spiffe_trust_domain (b.example)",
    ),
    "an issuer twice": ({"config": {"auth": {"jwt_issuers": [ISSUER, ISSUER]}}}, "is there twice"),
    "keys that are nowhere": ({"config": {"auth": {"jwt_issuers": [KEYS]}}}, "set jwks.configMapName"),
    "keys outside the pod": (
        {"config": {"auth": {"jwt_issuers": [{**KEYS, "jwks_file": "/keys"}]}}, "jwks": {"configMapName": "a"}},
        "/keys is not in the pod",
    ),
    "plaintext by name beside a certificate": (
        {**PRODUCTION, "service": {"appProtocol": "kubernetes.io/h2c"}},
        "set it to grpc or http2",
    ),
    "authorities of no store": ({"stores": {"ca": {"configMapName": "a"}}}, "no store is reached by TLS"),
    "a store behind the policy": (
        {"networkPolicy": {"enabled": True}, "stores": {"quota": {"url": "valkey://a:6379/0"}}},
        "shuts the gateway out of stores.quota.url",
    ),
    "a collector behind the policy": (
        {"networkPolicy": {"enabled": True}, "config": {"telemetry": {"otlp_endpoint": "http://a:4317"}}},
        "shuts the gateway out of config.telemetry.otlp_endpoint",
    ),
    "the vendor behind the policy": (
        {**PRODUCTION, "networkPolicy": {"enabled": True, "vendor": []}},
        "shuts the gateway out of the vendor",
    ),
    "a share of nothing": (
        {**SCALED, "resources": {"requests": {"cpu": None}}},
        "set resources.requests.cpu",
    ),
    "a label of the chart's own": (
        {"podLabels": {"app.kubernetes.io/name": "a"}},
        "podLabels: app.kubernetes.io/name is",
    ),
    "a common label of the chart's own": (
        {"commonLabels": {"facegate-client": "a"}},
        "facegate-client is a label of the",
    ),
    "a label twice": ({"commonLabels": {"a": "b"}, "podLabels": {"a": "c"}}, "a is in commonLabels too"),
    "an annotation of the chart's own": (
        {"podAnnotations": {"checksum/settings": "a"}},
        "checksum/settings is an annot",
    ),
    "a Secret made twice": (
        {
            "externalSecrets": {
                "enabled": True,
                "storeRef": {"name": "vault"},
                "secrets": 2 * [{"name": "a", "data": {"b": {"key": "c"}}}],
            }
        },
        "a is made twice",
    ),
    "a test of no issuer's audience": ({"test": {"audience": "facegate"}}, "is the audience of none"),
    "a search without a credential": ({"tenants": [TENANT], "test": {"faceSet": "a"}}, "a search needs a credential"),
    "a test without the certificate it needs": (
        {**PRODUCTION, "tls": MUTUAL, "test": {"tokenSecret": {"name": "a"}}},
        "callers need a certificate",
    ),
    "the sandbox's token in production": (
        {**PRODUCTION, "tenants": [{"id": "kyc", "principals": [{"token_sha256": PUBLIC}]}]},
        "facegate token new kyc",
    ),
}

UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicas": 3}, "replicas"),
    "an unknown value further in": ({"tls": {"secret": "a"}}, "secret"),
    "an unknown setting": ({"config": {"server": {"drain_second": 1}}}, "drain_second"),
    "a setting that the chart makes": ({"config": {"server": {"listen": "0.0.0.0:1"}}}, "listen"),
    "an unknown limit": ({"tenants": [{**TENANT, "limits": {"per_day": 3}}]}, "per_day"),
    "no replica": ({"replicaCount": 0}, "replicaCount"),
    "a number in words": ({"service": {"port": "http"}}, "port"),
    "a credential without its Secret": ({"credentials": [{"name": "a"}]}, "secretName"),
    "a setting out of range": ({"config": {"cache": {"ttl_seconds": 4000}}}, "ttl_seconds"),
    "a password in a URL": ({"stores": {"quota": {"url": "valkey://u:secret@h:6379"}}}, "url"),
    "nothing in place of a section": ({"tls": None}, "tls"),
    "nothing in place of a value": ({"stores": {"quota": {"url": None}}}, "url"),
    "another way to fail": ({"config": {"quota": {"on_store_failure": "ignore"}}}, "on_store_failure"),
}


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("case", [*IMPOSSIBLE, *UNKNOWN])
def test_is_refused(case: str, major: str, tmp_path: Path) -> None:
    """The message says which value is wrong and, where values do not go together, what to do."""
    values, said = (IMPOSSIBLE | UNKNOWN)[case]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values), "utf-8")
    with pytest.raises(Refused) as refused:
        render(require_helm(major), file)
    assert said in str(refused.value)


def test_a_release_that_no_service_may_be_named_after_is_refused() -> None:
    """A Service's name begins with a letter; a release's need not."""
    with pytest.raises(Refused, match=r"fullnameOverride: .* set a name that does"):
        render(require_helm("helm4"), "default", release="1st")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """One attempt shows all that is wrong."""
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"sandbox": {"enabled": False}, "replicaCount": 2}), "utf-8")
    with pytest.raises(Refused) as refused:
        render(require_helm("helm4"), file)
    for start in ("credentials:", "tenants:", "tls:", "stores.quota.url:"):
        assert f"  - {start}" in str(refused.value)
