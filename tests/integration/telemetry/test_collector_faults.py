"""A collector that is down or silent costs spans, never calls and never a restart's time."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.app import StartError
from gateway.clock import SystemClock
from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry.record import CallRecord
from gateway.telemetry.setup import Telemetry, open_telemetry
from gateway.telemetry.trace_ids import Sampler
from tests.support.conditions import eventually
from tests.support.gateway import config_of, running
from tests.support.logs import caught_logs
from tests.support.otlp import collecting
from tests.support.tools import ROOT
from tests.support.upstream import FakeUpstream
from tests.support.valkey import free_port

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Accepts connections and never says a word."""
    writers: list[asyncio.StreamWriter] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.close()


def opened(endpoint: str | None, trace_sample_ratio: float = 0.1) -> contextlib.AbstractAsyncContextManager[Telemetry]:
    """Telemetry toward a collector."""
    config = TelemetryConfig(otlp_endpoint=endpoint, trace_sample_ratio=trace_sample_ratio)
    return open_telemetry(config, methods=[METHOD], tenants=["kyc"], clock=SystemClock(), environ={})


def end_call(telemetry: Telemetry, traceparent: str = SAMPLED, tenant: str = "kyc") -> None:
    """One call; without a tenant its caller is not authenticated."""
    record = CallRecord(METHOD, "r", time.monotonic(), tenant=tenant)
    record.spent("upstream", 0.0, 0.001)
    record.finish(time.monotonic())
    telemetry.calls.ended(record, traceparent)


@pytest.mark.parametrize("fault", ["down", "silent", "slow"])
@pytest.mark.timed
async def test_the_end_takes_less_than_two_seconds(fault: str, tmp_path: Path) -> None:
    """With spans and metrics that nobody takes, or not in time."""
    with caught_logs(tmp_path):
        async with silent() as address, collecting() as collector:
            collector.delay_seconds = 30
            endpoint = {"silent": address, "slow": collector.endpoint}.get(fault, f"http://127.0.0.1:{free_port()}")
            async with opened(endpoint) as telemetry:
                for _ in range(100):
                    end_call(telemetry)
                started = time.perf_counter()
            assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize("fault", ["down", "silent"])
async def test_readyz_names_a_collector_that_takes_nothing(fault: str, tmp_path: Path) -> None:
    """Within seconds of the start, and calls are taken all the same."""
    with caught_logs(tmp_path):
        async with silent() as address:
            endpoint = address if fault == "silent" else f"http://127.0.0.1:{free_port()}"
            async with running(config_of(telemetry={"otlp_endpoint": endpoint}), upstream=FakeUpstream()) as gateway:
                url = f"http://{gateway.ops_address}/readyz"
                await until_shown(url, "ready\nproblem: collector: does not take metrics\n")


async def test_a_collector_that_comes_back_is_a_problem_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is the last attempt, not the worst."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    with caught_logs(tmp_path):
        async with collecting() as collector:
            config = config_of(telemetry={"otlp_endpoint": collector.endpoint})
            async with running(config, upstream=FakeUpstream()) as gateway:
                url = f"http://{gateway.ops_address}/readyz"
                collector.refuses = True
                await until_shown(url, "ready\nproblem: collector: does not take metrics\n")
                collector.refuses = False
                await until_shown(url, "ready\n")


async def until_shown(url: str, text: str) -> None:
    """Looks at a page until it is this."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            async with session.get(url) as answer:
                shown = await answer.text()
                assert answer.status == 200
            if shown == text:
                return
            await asyncio.sleep(0.05)


@pytest.mark.timed
async def test_the_process_ends_too(tmp_path: Path) -> None:
    """No thread of an exporter holds up the interpreter."""
    script = f"""
import asyncio, time
from gateway.clock import SystemClock
from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry.record import CallRecord
from gateway.telemetry.setup import open_telemetry

async def main():
    config = TelemetryConfig(otlp_endpoint=ADDRESS)
    async with open_telemetry(config, methods=[], tenants=[], clock=SystemClock(), environ={{}}) as telemetry:
        for _ in range(100):
            telemetry.calls.ended(CallRecord("/a/B", "r", time.monotonic()), {SAMPLED!r})
        await asyncio.sleep(0.1)
        started = time.monotonic()
    print("closed", time.monotonic() - started, flush=True)
asyncio.run(main())
"""
    async with silent() as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script.replace("ADDRESS", repr(address)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        assert process.stdout is not None
        closed = b""
        while not closed.startswith(b"closed"):  # before it stand the log lines, which nobody configured
            closed = await process.stdout.readline()
            assert closed
        started = time.perf_counter()
        _, err = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, err[-2000:]
        # The interpreter's own end, on a busy machine; an exporter that is waited for takes ten seconds.
        assert time.perf_counter() - started < 5.0
        assert float(closed.split()[1]) < 2.0


@pytest.mark.timed
async def test_a_full_queue_drops_the_newest_and_counts_them(tmp_path: Path) -> None:
    """Memory stays bounded, and no call waits."""
    with caught_logs(tmp_path) as logs:
        async with silent() as endpoint, opened(endpoint, trace_sample_ratio=1.0) as telemetry:
            started = time.perf_counter()
            for _ in range(5000):
                end_call(telemetry, traceparent="")
            telemetry.calls.tell()
            took = time.perf_counter() - started
            assert telemetry.spans is not None
            assert telemetry.spans.dropped.values[()] > 5000
            assert (
                f"facegate_telemetry_spans_dropped_total {telemetry.spans.dropped.values[()]}" in telemetry.exposition()
            )
        assert took < 5
        assert len(logs.lines("library.message")) < 5


async def test_callers_that_flag_their_calls_leave_room_for_those_that_the_ratio_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many tenants do it: half of the queue is not theirs. A stranger's flag counts for nothing."""
    monkeypatch.setattr("gateway.telemetry.trace_ids.FLAGGED", 10_000)
    with caught_logs(tmp_path):
        async with silent() as endpoint, opened(endpoint, trace_sample_ratio=0.0) as telemetry:
            spans = telemetry.spans
            assert spans is not None
            for _ in range(3000):
                end_call(telemetry, tenant="")
            telemetry.calls.tell()
            assert (spans._offered, spans.dropped.values[()]) == (0, 0)
            for _ in range(3000):
                end_call(telemetry)
            telemetry.calls.tell()
            assert spans._offered - spans.taken <= spans._room // 2
            assert (dropped := spans.dropped.values[()]) > 3000
            telemetry.sample(Sampler(1.0))
            for _ in range(400):
                end_call(telemetry, traceparent="")
            telemetry.calls.tell()
            assert spans.dropped.values[()] == dropped


async def test_without_a_collector_no_sdk_is_loaded() -> None:
    """It takes 200 ms to import, which a gateway without traces need not wait for."""
    script = """
import asyncio, sys
from gateway.clock import SystemClock
from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry.setup import open_telemetry


async def main():
    async with open_telemetry(TelemetryConfig(), methods=[], tenants=[], clock=SystemClock(), environ={}):
        print(sorted(name for name in sys.modules if name.startswith("opentelemetry.")))
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=subprocess.PIPE, cwd=ROOT)
    out, _ = await process.communicate()
    assert out.strip() == b"[]"


@pytest.mark.parametrize(
    ("environ", "spans", "exports"),
    [
        ({}, False, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_METRICS_EXPORTER": "none"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False, False),
    ],
)
async def test_the_standard_variables_choose_what_is_sent(environ: dict[str, str], spans: bool, exports: bool) -> None:
    """Without a setting of the gateway's own."""
    config = TelemetryConfig()
    opening = open_telemetry(config, methods=[], tenants=[], clock=SystemClock(), environ=environ)
    async with opening as telemetry:
        assert (telemetry.spans is not None, telemetry.exports is not None) == (spans, exports)


async def test_a_small_queue_will_do() -> None:
    """It holds small batches, though the default of their size is larger."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE": "10"}
    environ |= {"OTEL_METRICS_EXPORTER": "none", "OTEL_BSP_SCHEDULE_DELAY": "10"}
    opening = open_telemetry(TelemetryConfig(), methods=[], tenants=[], clock=SystemClock(), environ=environ)
    async with opening as telemetry:
        assert telemetry.spans is not None


async def test_a_variable_that_cannot_be_used_ends_the_start_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by what it has to be, and not with the value, which could be a secret."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "swordfish")
    with pytest.raises(StartError) as caught:
        async with running(config_of(telemetry={"otlp_endpoint": "http://127.0.0.1:9"}), upstream=FakeUpstream()):
            pass
    assert str(caught.value) == "OTEL_EXPORTER_OTLP_COMPRESSION has to be none or gzip or deflate"
    assert "swordfish" not in str(caught.value)


async def test_what_is_queued_at_the_end_is_sent(tmp_path: Path) -> None:
    """To a collector that takes it: the last spans, and figures that count the last calls."""
    with caught_logs(tmp_path):
        async with collecting() as collector:
            async with opened(collector.endpoint) as telemetry:
                for _ in range(100):
                    end_call(telemetry)
            assert len(collector.spans) == 200
            (calls,) = collector.metrics["facegate.tenant.calls"].sum.data_points[-1:]
            assert calls.as_double + calls.as_int == 100


async def test_a_proxy_of_the_environment_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC follows these by itself. They name the way out of a network, and a collector is within it."""
    for variable in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    async with collecting() as collector, opened(collector.endpoint) as telemetry:
        end_call(telemetry)
        assert telemetry.spans is not None
        await asyncio.to_thread(telemetry.spans._processor.force_flush)
        await eventually(lambda: bool(collector.metric_exports and collector.spans), "the collector gets both signals")


async def test_the_preferred_temporality_reaches_the_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`delta`: what the first export counted is not in the second."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "60000")
    config = TelemetryConfig(trace_sample_ratio=0)
    environ = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "Delta"}
    with caught_logs(tmp_path):
        async with collecting() as collector:
            environ |= {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": collector.endpoint}
            opening = open_telemetry(config, methods=[METHOD], tenants=["kyc"], clock=SystemClock(), environ=environ)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", collector.endpoint)
            async with opening as telemetry:
                async with asyncio.timeout(20):
                    while not collector.metric_exports:
                        await asyncio.sleep(0.02)
                for _ in range(100):
                    end_call(telemetry)
            last = collector.metrics["facegate.tenant.calls"].sum
    assert last.aggregation_temporality == 1
    assert [point.as_double + point.as_int for point in last.data_points] == [100]
