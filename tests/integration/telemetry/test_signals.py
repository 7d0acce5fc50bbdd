"""A call through the real server, as an operator sees it: its trace, its log line, its metrics, joined to each other."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway.cache.sharing import SharedSearches
from gateway.errors import UpstreamTimeout
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal, running
from tests.support.images import jpeg
from tests.support.logs import CaughtLogs, caught_logs
from tests.support.otlp import Collector, attributes, collecting
from tests.support.upstream import ANSWER, FakeUpstream

METHOD = "facegate.search.v1.FaceSearchService/SearchFace"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Takes traces and metrics."""
    async with collecting() as collector:
        yield collector


class Scene:
    """A gateway whose every caller-sampled call is traced, and what it tells."""

    def __init__(self, address: str, ops: str, upstream: FakeUpstream, collector: Collector, logs: CaughtLogs) -> None:
        self.upstream = upstream
        self.collector = collector
        self.logs = logs
        self.ops = ops
        self._channel: Any = grpc.aio.insecure_channel(address)
        self.stub: Any = FaceSearchServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    def search(self, seed: int = 1, *, face_set: str = "employees", sampled: bool = True, timeout: float = 10) -> Any:
        """One search, and the ids of the caller's span."""
        trace, parent = secrets.token_hex(16), secrets.token_hex(8)
        header = f"00-{trace}-{parent}-{'01' if sampled else '00'}"
        request = pb.SearchFaceRequest(face_set=face_set, image=pb.Image(content=jpeg(seed=seed)))
        call = self.stub.SearchFace(request, metadata=(("traceparent", header),), timeout=timeout)
        return call, trace, parent

    async def trace(self, trace_id: str, spans: int) -> dict[str, Any]:
        """The spans of a trace by name, once there are so many."""

        def found() -> list[Any]:
            return [span for span in self.collector.spans if span.trace_id.hex() == trace_id]

        await eventually(lambda: len(found()) >= spans, f"{spans} spans of {trace_id}")
        assert len(found()) == spans
        return {span.name: span for span in found()}

    async def line(self, trace_id: str) -> dict[str, Any]:
        """The log line of a trace's call."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.logs.lines("rpc.ended") if line["trace_id"] == trace_id]

        await eventually(lambda: bool(found()), f"the line of {trace_id}")
        (line,) = found()
        return line

    async def metrics(self) -> str:
        """The page of `/metrics`."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.ops}/metrics") as answer:
            assert answer.status == 200
            return await answer.text()


@pytest.fixture
async def scene(collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A running gateway that sends soon."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    upstream = FakeUpstream()
    config = config_of(telemetry={"otlp_endpoint": collector.endpoint, "trace_sample_ratio": 0.0})
    with caught_logs(tmp_path) as logs:
        async with running(config, upstream=upstream) as gateway:
            scene = Scene(gateway.address, gateway.ops_address, upstream, collector, logs)
            yield scene
            await scene.close()


async def test_a_miss_is_joined_to_its_callers_trace_with_a_child_a_step(scene: Scene) -> None:
    """One trace from the caller to the upstream; the log line has its id; the metrics count the call."""
    call, trace, parent = scene.search()
    await call
    spans = await scene.trace(trace, 4)
    server = spans[METHOD]
    assert server.parent_span_id.hex() == parent
    assert server.kind == Span.SPAN_KIND_SERVER
    assert server.status.code == Status.STATUS_CODE_UNSET
    told = attributes(server)
    assert (told["rpc.system.name"], told["rpc.method"], told["rpc.response.status_code"]) == ("grpc", METHOD, "OK")
    assert (told["facegate.tenant"], told["facegate.cache"], told["facegate.matches"]) == ("demo", "miss", 1)
    for step in ("quota", "cache", "upstream"):
        child = spans[step]
        assert child.parent_span_id == server.span_id
        assert server.start_time_unix_nano <= child.start_time_unix_nano + 1_000_000
        assert child.start_time_unix_nano <= child.end_time_unix_nano <= server.end_time_unix_nano + 1_000_000
    line = await scene.line(trace)
    assert (line["code"], line["cache"], line["matches"], line["sampled"]) == ("OK", "miss", 1, True)
    assert {"quota_ms", "cache_ms", "upstream_ms", "total_ms"} <= line.keys()
    assert (line["upstream_attempts"], line["upstream_status"]) == (1, "OK")
    told = attributes(spans["upstream"])
    assert (told["facegate.upstream.attempts"], told["facegate.upstream.status"]) == (1, "OK")
    assert spans["upstream"].status.code == Status.STATUS_CODE_UNSET
    labels = f'rpc_method="{METHOD}",rpc_response_status_code="OK",cache="miss"'
    assert f"rpc_server_call_duration_seconds_count{{{labels}}} 1\n" in await scene.metrics()
    await eventually(lambda: "rpc.server.call.duration" in scene.collector.metrics, "the metrics over OTLP")
    histogram = scene.collector.metrics["rpc.server.call.duration"]
    assert histogram.unit == "s"
    (point,) = histogram.histogram.data_points
    assert (point.count, sum(point.bucket_counts), len(point.bucket_counts)) == (1, 1, len(point.explicit_bounds) + 1)
    # Not measured, so not told: a 0 would be drawn as the slowest call.
    assert not point.HasField("max")
    assert not point.HasField("min")
    resource = attributes(scene.collector.trace_exports[0].resource_spans[0].resource)
    assert resource["service.name"] == "facegate"
    assert resource["deployment.environment.name"] == "test"


async def test_a_hit_has_no_upstream_span(scene: Scene) -> None:
    """What did not happen is not in the trace."""
    call, _, _ = scene.search()
    await call
    call, trace, _ = scene.search()
    await call
    spans = await scene.trace(trace, 3)
    assert spans.keys() == {METHOD, "quota", "cache"}
    assert (await scene.line(trace))["cache"] == "hit"


async def two_at_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Two identical searches that share one upstream search: the line and the spans of each."""
    joined: list[bool] = []
    join: Any = SharedSearches.join

    def noticed(*given: Any, **named: Any) -> Any:
        found = join(*given, **named)
        joined.append(found is not None)
        return found

    monkeypatch.setattr(SharedSearches, "join", noticed)
    scene.upstream.hold.clear()
    calls = [scene.search() for _ in range(2)]
    waiting = [asyncio.ensure_future(call) for call, _, _ in calls]
    await eventually(lambda: joined == [False, True], "a leader and a follower")
    scene.upstream.hold.set()
    await asyncio.wait(waiting)
    for one in waiting:
        one.exception()
    return [(await scene.line(trace), await scene.trace(trace, 4)) for _, trace, _ in calls]


async def test_a_coalesced_call_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower waited for the leader's search; only the leader made an attempt."""
    told = await two_at_once(scene, monkeypatch)
    assert sorted(line["cache"] for line, _ in told) == ["coalesced", "miss"]
    assert sorted(line["upstream_attempts"] for line, _ in told) == [0, 1]
    assert {line["upstream_status"] for line, _ in told} == {"OK"}
    page = await scene.metrics()
    assert "facegate_cache_followers_total 1\n" in page
    assert "facegate_upstream_attempts_total 1\n" in page


async def test_a_follower_of_a_search_that_fails_made_no_attempt(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request failed, and two calls with it."""
    scene.upstream.answer = UpstreamTimeout("timeout")
    told = await two_at_once(scene, monkeypatch)
    assert sorted(line["upstream_attempts"] for line, _ in told) == [0, 1]
    assert {line["upstream_status"] for line, _ in told} == {"timeout"}
    assert sorted(line["cache"] for line, _ in told) == ["coalesced", "miss"]
    assert all(spans["upstream"].status.code == Status.STATUS_CODE_ERROR for _, spans in told)
    page = await scene.metrics()
    assert "facegate_cache_followers_total 1\n" in page
    assert "facegate_upstream_attempts_total 1\n" in page


async def test_a_fault_is_an_error_of_the_span_and_a_refusal_is_not(scene: Scene) -> None:
    """Stable conventions: UNAVAILABLE is an error, PERMISSION_DENIED is the caller's own."""
    scene.upstream.answer = UpstreamTimeout("timeout")
    call, faulty, _ = scene.search()
    await refusal(call)
    spans = await scene.trace(faulty, 4)
    assert spans[METHOD].status.code == Status.STATUS_CODE_ERROR
    assert not spans[METHOD].status.message
    assert not spans[METHOD].events
    assert attributes(spans[METHOD])["error.type"] == "UNAVAILABLE"
    assert attributes(spans["upstream"])["facegate.upstream.status"] == "timeout"
    line = await scene.line(faulty)
    assert (line["level"], line["reason"], line["upstream_status"]) == ("warning", "UPSTREAM_TIMEOUT", "timeout")
    assert (line["cache"], line["upstream_attempts"]) == ("miss", 1)

    call, refused, _ = scene.search(face_set="visitors")
    await refusal(call)
    spans = await scene.trace(refused, 2)
    assert spans.keys() == {METHOD, "quota"}
    assert spans[METHOD].status.code == Status.STATUS_CODE_UNSET
    assert attributes(spans[METHOD])["rpc.response.status_code"] == "PERMISSION_DENIED"
    await eventually(lambda: bool(scene.logs.lines("audit.refused")), "the audit event")
    (event,) = scene.logs.lines("audit.refused")
    assert (event["decision"], event["reason"]) == ("refused", "FACE_SET_NOT_ALLOWED")
    page = await scene.metrics()
    assert 'facegate_tenant_calls_total{tenant="demo",reason="FACE_SET_NOT_ALLOWED"} 1\n' in page
    assert 'facegate_upstream_duration_seconds_count{status="timeout"} 1\n' in page


async def test_a_cancelled_call_is_told_like_any_other(scene: Scene) -> None:
    """It ends when its caller leaves, and says CANCELLED."""
    scene.upstream.hold.clear()
    call, trace, _ = scene.search()
    waiting = asyncio.ensure_future(call)
    await eventually(lambda: scene.upstream.in_flight == 1, "the search")
    call.cancel()
    await asyncio.wait([waiting])
    line = await scene.line(trace)
    assert (line["code"], line["reason"], line["cache"]) == ("CANCELLED", "CANCELLED", "miss")
    spans = await scene.trace(trace, 4)
    assert spans[METHOD].status.code == Status.STATUS_CODE_UNSET
    scene.upstream.hold.set()


async def test_an_unsampled_call_has_a_line_and_no_span(scene: Scene) -> None:
    """The caller's decision counts; its trace id is in the line all the same."""
    call, trace, _ = scene.search(sampled=False)
    await call
    await scene.line(trace)
    other, sampled, _ = scene.search(seed=2)
    await other
    await scene.trace(sampled, 4)
    assert trace not in {span.trace_id.hex() for span in scene.collector.spans}


async def test_the_vendor_is_told_of_no_trace(scene: Scene) -> None:
    """What goes upstream is the search and nothing of the call."""
    call, _, _ = scene.search()
    await call
    (query,) = scene.upstream.queries
    assert set(query.__dataclass_fields__) == {"face_set", "image", "parameters"}
    assert ANSWER.request_id not in scene.logs.text


async def test_telemetry_that_breaks_fails_no_call(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted instead."""

    def broken(*_: object) -> None:
        raise RuntimeError("telemetry is broken")

    monkeypatch.setattr("gateway.telemetry.call_metrics.CallMetrics.ended", broken)
    call, _, _ = scene.search()
    assert (await call).matches
    assert "facegate_telemetry_faults_total 1\n" in await scene.metrics()
