"""Metrics: the catalogue, its closed label sets, and what they look like to Prometheus."""

from __future__ import annotations

import os
import random
import string
import subprocess

import pytest

from gateway.clock import SystemClock
from gateway.errors import Reason
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.catalogue import CATALOGUE, CODES, MAX_TENANTS, REASONS
from gateway.telemetry.history import STEP_SECONDS, STEPS, History, quantile_ms
from gateway.telemetry.instruments import OTHER, Kind
from gateway.telemetry.observed import FileState, Observed
from gateway.telemetry.prometheus import exposition
from gateway.telemetry.record import CallRecord
from gateway.telemetry.setup import Telemetry
from tests.support.clock import ManualClock
from tests.support.metrics import values

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"


def ended(metrics: CallMetrics, **fields: object) -> None:
    """One call."""
    record = CallRecord(METHOD, "r", 0.0)
    record.finish(float(fields.pop("seconds", 0.02)))  # type: ignore[arg-type]
    for name, value in fields.items():
        setattr(record, name, value)
    metrics.ended(record)


def series_of(metrics: CallMetrics) -> int:
    """How many series there are."""
    return sum(len(one.points) for one in metrics.collect())


def test_names_are_unique_and_described() -> None:
    """On `/metrics` and over OTLP; every metric says what it tells."""
    assert len({metric.name for metric in CATALOGUE}) == len({metric.exposed for metric in CATALOGUE}) == len(CATALOGUE)
    assert all(metric.description.endswith(".") and metric.unit for metric in CATALOGUE)
    assert all(bool(metric.bounds) == (metric.kind is Kind.HISTOGRAM) for metric in CATALOGUE)


def test_a_hundred_thousand_strangers_add_no_series() -> None:
    """Random methods, tenants, face sets, request ids, codes and statuses all fall into `other`."""
    metrics = CallMetrics([METHOD], ["kyc"])
    chance = random.Random(7)
    word = "".join(chance.choices(string.printable, k=20))
    counts = []
    for number in range(100_000):
        stranger = f"{word}{number}"
        record = CallRecord(stranger, stranger, 0.0)
        record.tenant = record.face_set = record.code = record.reason = record.cache_status = stranger
        record.upstream_status = record.quota_limit = record.principal = record.image_format = stranger
        record.spent(stranger, 0.0, 0.1)
        record.spent("quota", 0.0, 0.1)
        record.finish(0.1)
        metrics.ended(record)
        metrics.item_ended(record)
        metrics.upstream_ended(stranger, 0.1)
        if number in {10, 99_999}:
            counts.append(series_of(metrics))
    assert counts[0] == counts[1] < 40
    text = exposition(metrics.collect())
    assert word[:8] not in text
    assert f'tenant="{OTHER}"' in text


def test_at_most_two_hundred_tenants_have_series_of_their_own() -> None:
    """The first of the configuration; later ones take what is left."""
    metrics = CallMetrics([METHOD], [f"t{n}" for n in range(MAX_TENANTS - 1)])
    metrics.know_tenants(["late", "later"])
    for tenant in ("t0", "late", "later", ""):
        ended(metrics, tenant=tenant)
    tenants = {labels[0] for labels, count in metrics.tenant_calls.values.items() if count}
    assert tenants == {"t0", "late", OTHER, "none"}


def test_labels_know_every_code_and_reason() -> None:
    """What the gateway can answer is in the closed sets."""
    import grpc

    assert set(CODES) == {code.name for code in grpc.StatusCode}
    assert set(REASONS) == {"OK", *(reason.value for reason in Reason)}


def test_quota_verdicts_name_their_limit() -> None:
    """Admitted, refused by which limit, or undecided for want of the store."""
    metrics = CallMetrics([METHOD], ["kyc"])
    ended(metrics, tenant="kyc", steps={"quota": 0.1, "total": 0.2})
    ended(metrics, tenant="kyc", reason="TENANT_RATE_LIMITED")
    ended(metrics, tenant="kyc", reason="TENANT_QUOTA_EXCEEDED", quota_limit="upstream_calls_per_day")
    ended(metrics, tenant="kyc", reason="QUOTA_UNAVAILABLE")
    assert {labels[1] for labels in metrics.decisions.values} == {
        "admitted",
        "rate",
        "upstream_calls_per_day",
        "unavailable",
    }


def test_followers_are_counted_however_they_end() -> None:
    """Those that got their answer and those that failed with the search that they waited for."""
    metrics = CallMetrics([METHOD], ["kyc"])
    ended(metrics, cache_status="miss", upstream_attempts=2)
    ended(metrics, cache_status="coalesced")
    ended(metrics, code="UNAVAILABLE", cache_status="coalesced")
    assert metrics.coalesced.values == {(): 2}


@pytest.mark.usefixtures("promtool")
def test_prometheus_likes_the_page() -> None:
    """promtool finds nothing to complain of, with every metric present."""
    telemetry = Telemetry([METHOD], ["kyc"], SystemClock())
    telemetry.observe(everything_observed())
    ended(telemetry.metrics, tenant="kyc", steps={"quota": 0.1, "upstream": 0.3, "total": 0.2})
    ended(telemetry.metrics, tenant='a"b\\c\nd')
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=telemetry.exposition(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def everything_observed() -> Observed:
    """Every part answers."""
    return Observed(
        ready=lambda: True,
        calls_in_flight=lambda: 1,
        body_bytes_in_flight=lambda: 2,
        upstream_in_flight=lambda: 3,
        upstream_waiting=lambda: 4,
        cache_bytes=lambda: 6,
        cache_entries=lambda: 7,
        cache_faults=lambda: 0,
        stores=lambda: {"quota": True, "cache": False},
        quotas_used=lambda: {("kyc", "upstream_calls_per_day"): 0.9},
        files=lambda: [
            FileState("configuration", 5.0, {"facegate.yaml": False}),
            FileState("TLS certificate", 50.0, {"tls.crt": False, "tls.key": True}),
        ],
        certificates=lambda: {"server": 1_900_000_000.0, "client_ca": 2_000_000_000.0},
    )


def test_states_are_one_for_what_is_and_zero_for_the_rest() -> None:
    """So that a rule can tell a state from a missing series."""
    text = exposition(everything_observed().collect())
    for line in (
        'facegate_store_up{store="cache"} 0',
        'facegate_files_rejected{files="TLS certificate",file="tls.crt"} 0',
        'facegate_files_rejected{files="TLS certificate",file="tls.key"} 1',
        'facegate_files_age_seconds{files="configuration"} 5',
        'facegate_certificate_expiry_timestamp_seconds{certificate="client_ca"} 2000000000',
    ):
        assert f"{line}\n" in text


@pytest.mark.parametrize("limit", [1 << 30, None])
def test_the_memory_limit_is_the_containers_or_else_the_machines(
    limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that used memory can be held against it anywhere."""
    monkeypatch.setattr("gateway.telemetry.observed.container_limit_bytes", lambda: limit)
    page = values(Telemetry([METHOD], ["kyc"], SystemClock()).exposition())
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    assert page["facegate_memory_limit_bytes"] == (limit or machine) > page["process_resident_memory_bytes"]


def test_history_is_differences() -> None:
    """Each moment counts what ended in it, not what ended before."""
    clock = ManualClock()
    metrics = CallMetrics([METHOD], ["kyc"])
    ended(metrics)
    history = History(metrics, clock)
    history.tick()
    assert not history.moments
    ended(metrics, cache_status="hit", seconds=0.02)
    ended(metrics, cache_status="miss", seconds=0.02)
    ended(metrics, code="RESOURCE_EXHAUSTED", seconds=0.0001, tenant="kyc", reason="TENANT_RATE_LIMITED")
    ended(metrics, code="UNAVAILABLE", seconds=0.02, tenant="kyc", reason="UPSTREAM_ERROR")
    for status in ("OK", "OK", "INVALID_ARGUMENT", "timeout", "KEY_EXPIRED"):
        metrics.upstream_ended(status, 0.1)
    clock.advance(STEP_SECONDS)
    history.tick()
    clock.advance(STEP_SECONDS)
    history.tick()
    first, second = history.moments
    assert (first.calls, first.refused, first.failed, first.hits, first.searched) == (4, 1, 1, 1, 2)
    assert (first.asked, first.unanswered, first.statuses) == (5, 2, {"timeout": 1, "KEY_EXPIRED": 1})
    for outcome in ("cache", "vendor", "failed"):
        median = quantile_ms(first.latency[outcome], 0.5)
        assert median is not None
        assert 10 < median < 25, "refused calls are none of these"
        assert quantile_ms(second.latency[outcome], 0.5) is None
    assert first.ends == {("kyc", "TENANT_RATE_LIMITED"): 1, ("kyc", "UPSTREAM_ERROR"): 1} == history.ends
    assert (second.calls, second.ends, history.last_minute().calls) == (0, {}, 4)
    for _ in range(STEPS):
        clock.advance(STEP_SECONDS)
        history.tick()
    assert (len(history.moments), history.ends, history.last_minute().seconds) == (STEPS, {}, 60)


def test_quantiles_are_estimated_within_their_bucket() -> None:
    """As Prometheus' histogram_quantile does it."""
    assert quantile_ms([0.0] * 15, 0.5) is None
    buckets = [0.0] * 15
    buckets[4] = 10  # between 10 and 25 ms
    assert quantile_ms(buckets, 0.5) == pytest.approx(17.5)
    buckets = [0.0] * 15
    buckets[14] = 1
    assert quantile_ms(buckets, 0.99) == 30_000
