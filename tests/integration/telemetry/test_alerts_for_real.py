"""A real Prometheus scrapes real gateways: every alert fires when its fault is caused, and no other does."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support import alert_faults as faults
from tests.support.alert_faults_quota import quota_nearly_used
from tests.support.logs import caught_logs
from tests.support.prometheus import Prometheus, scraping
from tests.support.tools import ROOT
from tests.support.troubled import process_in_trouble

CHART = ROOT / "helm" / "facegate"
RULES = yaml.safe_load((CHART / "rules" / "facegate.yaml").read_text("utf-8"))["groups"][0]["rules"]
ALERTS = {rule["alert"] for rule in RULES}
# A machine with too much to do causes these for real.
OF_A_BUSY_MACHINE = {"FaceGateDown", "FaceGateSlow", "FaceGateEventLoopBlocked"}
# The longest alert waits for 15 s of these, after as long a look back.
WITHIN_SECONDS = 150


class Case(NamedTuple):
    """A fault, and the alerts that it is to raise."""

    scenario: faults.Scenario
    alerts: set[str]


CASES = {
    "facegate-calm": Case(faults.calm, set()),
    "facegate-gone": Case(faults.gone, {"FaceGateDown"}),
    "facegate-leaving": Case(faults.leaving, {"FaceGateNotReady"}),
    "facegate-bug": Case(faults.bug, {"FaceGateBug"}),
    "facegate-vendor-down": Case(faults.VENDOR_DOWN, {"FaceGateErrors", "FaceGateUpstreamFailing"}),
    "facegate-vendor-slow": Case(faults.VENDOR_SLOW, {"FaceGateUpstreamSlow"}),
    "facegate-key-expired": Case(faults.KEY_EXPIRED, {"FaceGateUpstreamAccessRefused"}),
    "facegate-not-found": Case(faults.NOT_FOUND, {"FaceGateUpstreamAccessRefused"}),
    "facegate-out-of-quota": Case(faults.OUT_OF_QUOTA, {"FaceGateUpstreamQuotaUsedUp"}),
    "facegate-stores-out": Case(faults.stores_out, {"FaceGateQuotaStoreOut", "FaceGateCacheStoreOut"}),
    "facegate-tampered": Case(faults.tampered, {"FaceGateCacheTampered"}),
    "facegate-overloaded": Case(faults.overloaded, {"FaceGateOverloaded", "FaceGateErrors"}),
    "facegate-over-its-rate": Case(faults.over_its_rate, {"FaceGateTenantRefused"}),
    "facegate-nearly-used": Case(quota_nearly_used, {"FaceGateQuotaNearlyUsed"}),
    "facegate-face-set": Case(faults.FACE_SET_UNUSABLE, {"FaceGateFaceSetUnusable"}),
    "facegate-guessed": Case(faults.guessed, {"FaceGateCredentialsGuessed"}),
    "facegate-files-spoiled": Case(faults.files_spoiled, {"FaceGateFilesRejected"}),
    "facegate-certificate": Case(faults.certificate_ends, {"FaceGateCertificateEnds"}),
    "facegate-no-collector": Case(faults.without_a_collector, {"FaceGateTelemetryLost"}),
    "facegate-in-trouble": Case(
        process_in_trouble,
        {"FaceGateEventLoopBlocked", "FaceGateSlow", "FaceGateMemoryHigh", "FaceGateLogsLost"},
    ),
}


def test_every_alert_has_a_fault() -> None:
    """None is left to promtool's made-up series alone."""
    assert set().union(*(case.alerts for case in CASES.values())) == ALERTS


async def raised(prometheus: Prometheus) -> dict[str, set[str]]:
    """What fired of each case, once everything has that is to."""
    seen: dict[str, set[str]] = {job: set() for job in CASES}
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            while any(case.alerts - seen[job] for job, case in CASES.items()):
                for job, alert in await prometheus.firing():
                    seen[job].add(alert)
                await asyncio.sleep(0.3)
    except TimeoutError:
        missing = {job: case.alerts - seen[job] for job, case in CASES.items() if case.alerts - seen[job]}
        raise AssertionError(f"did not fire: {missing}") from None
    return seen


async def test_each_fault_raises_its_alerts_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at the same time, each as if it were alone; the rules' minutes are seconds here."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "500")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with caught_logs(tmp_path):
        async with AsyncExitStack() as stack:
            targets, begins = {}, []
            for job, case in CASES.items():
                folder = tmp_path / job
                folder.mkdir()
                targets[job], begin = await stack.enter_async_context(case.scenario(folder))
                begins.append(begin)
            prometheus = await stack.enter_async_context(scraping(targets, RULES))
            for begin in begins:
                await begin()
            seen = await raised(prometheus)
            await every_panel_reads(prometheus)
    wrong = {job: seen[job] - case.alerts - OF_A_BUSY_MACHINE for job, case in CASES.items()}
    assert not {job: alerts for job, alerts in wrong.items() if alerts}


async def every_panel_reads(prometheus: Prometheus) -> None:
    """Each expression of the dashboards finds series, of gateways that do all that they show."""
    empty = []
    for file in sorted((CHART / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
                for variable in ("$tenant", "$job", "$namespace"):
                    expression = expression.replace(variable, ".*")
                expression = expression.replace("[5m]", "[10s]").replace("[1h]", "[60s]")
                if not await prometheus.query(expression):
                    empty.append((file.name, panel["title"], expression))
    assert not empty
