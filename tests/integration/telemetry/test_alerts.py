"""Alerts and dashboards on made-up series, edge cases included; all read metrics that are exported."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.telemetry.catalogue import ACCESS_STATUSES, CATALOGUE, HEALTHY_STATUSES
from gateway.telemetry.instruments import Kind
from tests.support.tools import ROOT

CHART = ROOT / "helm" / "facegate"
RULES = CHART / "rules" / "facegate.yaml"
ALERTS = {rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text("utf-8"))["groups"][0]["rules"]}
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))

CALLS = "rpc_server_call_duration_seconds"
VENDOR = "facegate_upstream_duration_seconds"
TENANT_CALLS = "facegate_tenant_calls_total"


def slow(name: str, labels: str, le: str, lower: str) -> dict[str, str]:
    """A histogram whose every value is above `lower` and at most `le`."""
    return {
        f'{name}_bucket{{{labels}le="{lower}"}}': "0x60",
        f'{name}_bucket{{{labels}le="{le}"}}': "0+60x60",
        f'{name}_bucket{{{labels}le="+Inf"}}': "0+60x60",
    }


def tenant_calls(reason: str, values: str) -> dict[str, str]:
    """Calls of one tenant with one end."""
    return {f'{TENANT_CALLS}{{tenant="kyc",reason="{reason}"}}': values}


OK_CALLS = {f'{CALLS}_count{{rpc_response_status_code="OK"}}': "0+600x60"}
OK_VENDOR = {f'{VENDOR}_count{{status="OK"}}': "0+60x60"}
OK_TENANT = tenant_calls("OK", "0+60x60")

# Of each alert: series (a value a minute) on which it fires within half an hour, and ones on which it must not. Each gets
# the labels of a target.
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "FaceGateDown": ({"up": "0x60"}, {"up": "1x60"}),
    "FaceGateNotReady": ({"facegate_ready": "0x60"}, {"facegate_ready": "1x10 0 1x50"}),
    "FaceGateErrors": (
        {**OK_CALLS, f'{CALLS}_count{{rpc_response_status_code="UNAVAILABLE"}}': "0+60x60"},
        {
            **OK_CALLS,
            f'{CALLS}_count{{rpc_response_status_code="UNAVAILABLE"}}': "0+20x60",
            f'{CALLS}_count{{rpc_response_status_code="RESOURCE_EXHAUSTED"}}': "0+600x60",
        },
    ),
    "FaceGateBug": (tenant_calls("GATEWAY_ERROR", "0x25 1x35"), tenant_calls("GATEWAY_ERROR", "0x60")),
    "FaceGateSlow": (
        slow(CALLS, 'cache="hit",rpc_response_status_code="OK",', "0.25", "0.1"),
        slow(CALLS, 'cache="hit",rpc_response_status_code="OK",', "0.05", "0.025")
        | slow(CALLS, 'cache="miss",rpc_response_status_code="OK",', "5", "2.5"),
    ),
    "FaceGateUpstreamFailing": (
        {**OK_VENDOR, f'{VENDOR}_count{{status="timeout"}}': "0+30x60"},
        {
            **OK_VENDOR,
            f'{VENDOR}_count{{status="timeout"}}': "0+6x60",
            f'{VENDOR}_count{{status="QUERY_FAILED"}}': "0+60x60",
        },
    ),
    "FaceGateUpstreamSlow": (slow(VENDOR, 'status="OK",', "10", "5"), slow(VENDOR, 'status="OK",', "1", "0.5")),
    "FaceGateUpstreamAccessRefused": (
        {f'{VENDOR}_count{{status="KEY_EXPIRED"}}': "0x20 1x40"},
        {f'{VENDOR}_count{{status="KEY_EXPIRED"}}': "0x60", **OK_VENDOR},
    ),
    "FaceGateUpstreamQuotaUsedUp": (
        {f'{VENDOR}_count{{status="OUT_OF_QUOTA"}}': "0x20 1x40"},
        {f'{VENDOR}_count{{status="OUT_OF_QUOTA"}}': "0x60", **OK_VENDOR},
    ),
    "FaceGateQuotaStoreOut": (
        {'facegate_store_up{store="quota"}': "0x60"},
        {'facegate_store_up{store="cache"}': "0x60"},
    ),
    "FaceGateCacheStoreOut": (
        {'facegate_store_up{store="cache"}': "0x60"},
        {'facegate_store_up{store="quota"}': "0x60"},
    ),
    "FaceGateOverloaded": (tenant_calls("GATEWAY_OVERLOADED", "0+60x60"), tenant_calls("GATEWAY_OVERLOADED", "0+1x60")),
    "FaceGateTenantRefused": (
        OK_TENANT | tenant_calls("TENANT_RATE_LIMITED", "0+120x60"),
        OK_TENANT | tenant_calls("TENANT_RATE_LIMITED", "0+30x60"),
    ),
    "FaceGateQuotaNearlyUsed": (
        {'facegate_quota_used_ratio{tenant="kyc",limit="upstream_calls_per_month"}': "0.81x60"},
        {
            'facegate_quota_used_ratio{tenant="kyc",limit="upstream_calls_per_month"}': "0.79x60",
            'facegate_quota_used_ratio{tenant="kyc",limit="upstream_calls_per_minute"}': "1x60",
        },
    ),
    "FaceGateFaceSetUnusable": (
        {'facegate_bulk_items_total{tenant="kyc",reason="FACE_SET_UNUSABLE"}': "0x25 1x35"},
        tenant_calls("FACE_SET_UNUSABLE", "1x60"),
    ),
    "FaceGateCredentialsGuessed": (
        tenant_calls("CREDENTIALS_INVALID", "0+600x60"),
        tenant_calls("CREDENTIALS_INVALID", "0+60x60"),
    ),
    "FaceGateEventLoopBlocked": (
        slow("facegate_event_loop_lag_seconds", "", "1", "0.25"),
        slow("facegate_event_loop_lag_seconds", "", "0.05", "0.025"),
    ),
    "FaceGateFilesRejected": (
        {'facegate_files_rejected{files="configuration",file="facegate.yaml"}': "1x60"},
        {'facegate_files_rejected{files="configuration",file="facegate.yaml"}': "0x10 1 1 0x50"},
    ),
    # promtool's clock begins at 1970.
    "FaceGateCertificateEnds": (
        {'facegate_certificate_expiry_timestamp_seconds{certificate="server"}': "80000x60"},
        {'facegate_certificate_expiry_timestamp_seconds{certificate="server"}': "180000x60"},
    ),
    "FaceGateCacheTampered": (
        {"facegate_cache_values_refused_total": "0x25 1x35"},
        {"facegate_cache_values_refused_total": "1x60"},
    ),
    "FaceGateLogsLost": ({"facegate_log_lines_lost_total": "0x25 9x35"}, {"facegate_log_lines_lost_total": "9x60"}),
    "FaceGateTelemetryLost": (
        {'facegate_telemetry_exports_failed_total{signal="traces"}': "0+1x60"},
        {'facegate_telemetry_exports_failed_total{signal="traces"}': "0x20 1x40"},
    ),
    "FaceGateMemoryHigh": (
        # A container of 1 GiB, the chart's own limit.
        {"process_resident_memory_bytes": "870000000x60", "facegate_memory_limit_bytes": "1073741824x60"},
        {"process_resident_memory_bytes": "740000000x60", "facegate_memory_limit_bytes": "1073741824x60"},
    ),
}

needs_promtool = pytest.mark.usefixtures("promtool")


def of_target(series: dict[str, str], job: str = "facegate", namespace: str = "faces") -> dict[str, str]:
    """The series as a target of this job exports them."""
    found = {}
    for name, values in series.items():
        metric, _, labels = name.removesuffix("}").partition("{")
        found[f'{metric}{{job="{job}",namespace="{namespace}",instance="a:9464",{labels}}}'] = values
    return found


def a_test(alert: str, series: dict[str, str], *, fires: bool, case: str = "") -> dict[str, Any]:
    """One case of promtool's, which looks after half an hour."""
    return {
        "alert": alert,
        "name": f"{alert} {'fires' if fires else 'is quiet'} {case}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) > bool 0',
                "eval_time": "30m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }


@needs_promtool
def test_each_alert_fires_on_its_fault_alone(tmp_path: Path) -> None:
    """And stays quiet on what resembles it."""
    tests = []
    for alert, (fault, calm) in CASES.items():
        tests += [a_test(alert, of_target(fault), fires=True), a_test(alert, of_target(calm), fires=False)]
    check(tests, tmp_path)


@needs_promtool
def test_other_services_neither_raise_nor_hide_an_alert(tmp_path: Path) -> None:
    """A shared Prometheus has others' series of the same names, and other installations' of the same job."""
    tests = []
    for alert, (fault, calm) in CASES.items():
        strangers = [f"service-{number}" for number in range(8)]
        ours = of_target(calm)
        for job in strangers[:3]:
            ours |= of_target(fault, job)
        tests.append(a_test(alert, ours, fires=False, case="on others' faults"))
        jobs, namespaces = of_target(fault), of_target(fault)
        for name in strangers:
            jobs |= of_target(calm, name)
            namespaces |= of_target(calm, namespace=name)
        tests.append(a_test(alert, jobs, fires=True, case="beside healthy services"))
        tests.append(a_test(alert, namespaces, fires=True, case="beside healthy installations"))
    check(tests, tmp_path)


@needs_promtool
def test_an_alert_fires_when_no_target_is_left(tmp_path: Path) -> None:
    """A target that service discovery does not list any more has no series that could be 0."""
    others = of_target({"up": "1x60"}, "service")
    check([a_test("FaceGateDown", {**others, **of_target({"up": "1x10"})}, fires=True)], tmp_path)


def check(tests: list[dict[str, Any]], folder: Path) -> None:
    """Runs promtool's cases, all of which have to pass. Each against its own rule, which takes a fraction of the time."""
    files = []
    for alert in {test["alert"]: None for test in tests}:
        rule, file = folder / f"{alert}.rule.yaml", folder / f"{alert}.yaml"
        rule.write_text(yaml.safe_dump({"groups": [{"name": "facegate", "rules": [ALERTS[alert]]}]}))
        cases = [{key: value for key, value in one.items() if key != "alert"} for one in tests if one["alert"] == alert]
        file.write_text(
            yaml.safe_dump({"rule_files": [str(rule)], "evaluation_interval": "1m", "tests": cases}, width=10_000)
        )
        files.append(str(file))
    done = subprocess.run(["promtool", "test", "rules", *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_know_every_status_that_they_are_about() -> None:
    """Lists of statuses in expressions are the catalogue's."""
    assert f'status=~"{"|".join(ACCESS_STATUSES)}"' in ALERTS["FaceGateUpstreamAccessRefused"]["expr"]
    assert f'status!~"{"|".join(HEALTHY_STATUSES)}"' in ALERTS["FaceGateUpstreamFailing"]["expr"]


def test_every_alert_has_a_case_and_a_runbook() -> None:
    """Whoever is woken finds what to do under the alert's name."""
    assert ALERTS.keys() == CASES.keys()
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for name, rule in ALERTS.items():
        assert f"\n### {name}\n" in page, name
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    assert set(re.findall(r"^### (FaceGate\w+)$", page, re.MULTILINE)) == ALERTS.keys()


def exported() -> dict[str, set[str]]:
    """The names on `/metrics`, with their labels."""
    found: dict[str, set[str]] = {}
    for metric in CATALOGUE:
        labels = {label.exposed for label in metric.labels}
        if metric.kind is Kind.HISTOGRAM:
            found |= {
                f"{metric.exposed}_{part}": labels | ({"le"} if part == "bucket" else set())
                for part in ("bucket", "sum", "count")
            }
        else:
            found[metric.exposed] = labels
    return found


def expressions() -> list[tuple[str, str]]:
    """Every expression of rules and dashboards, with where it stands."""
    found = [(name, rule["expr"]) for name, rule in ALERTS.items()]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            found += [(f"{file.name}: {panel['title']}", target["expr"]) for target in panel.get("targets", ())]
    return found


# What Prometheus adds to each series of a target.
TARGET_LABELS = {"job", "instance", "namespace", "pod"}


def test_every_expression_reads_what_is_exported() -> None:
    """Metrics and labels of the catalogue; values of closed sets."""
    names = exported()
    closed: dict[str, set[str]] = {}
    for label in (label for metric in CATALOGUE for label in metric.labels):
        if not isinstance(label.values, str):
            closed.setdefault(label.exposed, set()).update(label.values)
    places = expressions()
    assert len(places) > 30
    rules = {rule["expr"] for rule in ALERTS.values()}
    for place, expression in places:
        used = set(re.findall(r"\b((?:facegate|rpc|process)_[a-z0-9_]+)\b(?=[\[{ )]|$)", expression))
        metrics = {name for name in used if name in names}
        assert metrics or "up{" in expression, place
        chosen = 'job="facegate"' if expression in rules else 'job=~"$job",namespace=~"$namespace"'
        read = re.findall(rf"\b(?:{'|'.join(metrics | {'up'})})\b(?!\()", expression)
        assert len(read) == expression.count(chosen), (place, "reads other services too")
        for by in re.findall(r"\bby \(([^)]*)\)", expression):
            assert by.startswith("job, namespace"), (place, by)
        assert not re.search(r"\b(sum|min|max|count) ?\(", expression), (place, "joins installations")
        labels = {label for name in metrics for label in names[name]} | TARGET_LABELS
        assert used - metrics <= labels, (place, used - metrics - labels)
        for name, _, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', expression):
            assert name in labels, (place, name)
            if name in closed and "$" not in value:
                assert set(value.split("|")) <= closed[name], (place, value)


def test_dashboards_are_whole() -> None:
    """Each panel has a title, a unit and a place of its own."""
    assert DASHBOARDS
    for file in DASHBOARDS:
        dashboard: dict[str, Any] = json.loads(file.read_text("utf-8"))
        assert dashboard["uid"]
        places: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            assert panel["title"]
            assert panel["type"] == "row" or panel["description"]
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & places
            assert at["x"] + at["w"] <= 24
            places |= cells


@needs_promtool
def test_the_rules_are_rules() -> None:
    """promtool reads them."""
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
