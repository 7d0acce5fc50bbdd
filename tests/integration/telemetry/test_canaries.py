"""The canary sweep: nothing private or secret is in anything that the gateway tells, whatever happens to a call."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import orjson
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.config import Config, parse_config
from gateway.telemetry import allowed
from tests.support.conditions import eventually
from tests.support.gateway import refusal, running
from tests.support.images import jpeg
from tests.support.logs import CaughtLogs, caught_logs
from tests.support.otlp import Collector, collecting
from tests.support.vendor import Connection, Vendor, json_response, response

API_ID = "canaryapiid4711"
API_SECRET = "canaryapisecret0815"
TOKEN = "canarytoken" + "a" * 32
UPSTREAM_NAME = "canary-upstream-faceset"
VENDOR_TEXT = "canaryvendortext"
PERSON_ID, FACE_ID = 777000111222333, 888000444555666
SCORE = 0.98765432101
PHOTO = jpeg(320, 240, seed=99)

CANARIES: dict[str, tuple[bytes, ...]] = {
    "credentials": (API_ID.encode(), API_SECRET.encode()),
    "token": (TOKEN.encode(), hashlib.sha256(TOKEN.encode()).hexdigest().encode()),
    "image": (
        PHOTO[100:116],
        base64.b64encode(PHOTO)[200:240],
        PHOTO[100:116].hex().encode(),
        hashlib.sha256(PHOTO).hexdigest().encode(),
    ),
    "matches": (str(PERSON_ID).encode(), str(FACE_ID).encode(), b"0.98765"),
    "upstream name": (UPSTREAM_NAME.encode(),),
    "vendor text": (VENDOR_TEXT.encode(),),
}

MATCH = {"person_id": PERSON_ID, "face_id": FACE_ID, "score": SCORE, "create_time": 1669077702}
BAD = f'{{"status": "{VENDOR_TEXT}", "reason": "{VENDOR_TEXT} {API_SECRET}", "person_id": {PERSON_ID}}}'.encode()
ANSWERS = {
    "ok": json_response(200, {"status": "OK", "request_id": "TID1", "result": [MATCH]}),
    "query failed": json_response(400, {"status": "QUERY_FAILED", "reason": f"{VENDOR_TEXT} {UPSTREAM_NAME}"}),
    "unknown status": response(400, BAD, "content-type: application/json"),
    "unauthorized": json_response(401, {"status": "UNAUTHORIZED", "reason": f"{VENDOR_TEXT} {API_SECRET}"}),
    "server error": response(500, BAD, f"x-{VENDOR_TEXT}: {VENDOR_TEXT}"),
    "redirect": response(302, b"", f"location: https://{VENDOR_TEXT}.example/{API_SECRET}"),
    "junk": response(200, VENDOR_TEXT.encode() * 10),
    "wrong types": json_response(200, {"status": "OK", "result": [{**MATCH, "score": VENDOR_TEXT}]}),
    "no http": f"{VENDOR_TEXT}\r\n\r\n".encode(),
}


@dataclass
class Sinks:
    """Everything that leaves, by where it leaves."""

    found: dict[str, bytes] = field(default_factory=dict)

    def leaks(self) -> list[tuple[str, str]]:
        """Which canaries were found where."""
        return [
            (sink, kind)
            for sink, content in self.found.items()
            for kind, canaries in CANARIES.items()
            if any(canary in content for canary in canaries)
        ]


class Sweep:
    """A gateway with a vendor that answers as told, and all of its sinks."""

    def __init__(self, gateway: Any, collector: Collector, logs: CaughtLogs) -> None:
        self.gateway = gateway
        self.collector = collector
        self.logs = logs
        self.answer = ANSWERS["ok"]
        self.errors: list[str] = []
        self.channel: Any = grpc.aio.insecure_channel(gateway.address)
        self.stub: Any = FaceSearchServiceStub(self.channel)

    def call(self, token: str = TOKEN, **request: Any) -> Any:
        """A traced search."""
        given = {"face_set": "employees", "image": pb.Image(content=PHOTO), "max_results": 3, **request}
        metadata = (
            ("authorization", f"Bearer {token}"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        )
        bypass = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)
        message = pb.SearchFaceRequest(cache_control=bypass, **given)
        return self.stub.SearchFace(message, metadata=metadata, timeout=10)

    async def refused(self, call: Any) -> None:
        """Keeps all that the caller of a failed call was told."""
        self.errors.append((await refusal(call)).everything)

    async def sinks(self) -> Sinks:
        """Reads everything."""
        await eventually(lambda: len(self.collector.spans) > 0, "spans")
        await eventually(lambda: bool(self.collector.metrics), "metrics")
        sinks = Sinks()
        async with aiohttp.ClientSession() as session:
            for path in ("/", "/status.json", "/readyz", "/metrics"):
                async with session.get(f"http://{self.gateway.ops_address}{path}") as answer:
                    sinks.found[path] = await answer.read()
        await asyncio.sleep(0.1)
        sinks.found["logs"] = self.logs.text.encode()
        sinks.found["collector"] = self.collector.everything
        sinks.found["errors"] = "\n".join(self.errors).encode()
        return sinks


def config_of(vendor: Vendor, collector: Collector, folder: Path) -> Config:
    """Canaries wherever a secret or a private name belongs."""
    (folder / "id").write_text(API_ID)
    (folder / "secret").write_text(API_SECRET)
    settings = {
        "server": {"listen": "127.0.0.1:0", "drain_seconds": 1},
        "ops": {"listen": "127.0.0.1:0"},
        "upstream": {
            "base_url": vendor.base_url,
            "timeout_seconds": 2,
            "credentials": [
                {"name": "primary", "api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
            ],
        },
        "tenants": [
            {
                "id": "kyc",
                "principals": [{"token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
                "face_sets": {"employees": UPSTREAM_NAME},
            }
        ],
        "telemetry": {"otlp_endpoint": collector.endpoint, "trace_sample_ratio": 1.0},
    }
    return parse_config(orjson.dumps(settings).decode())


@pytest.fixture
async def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sweep]:
    """Everything real: gateway, HTTP to a vendor, collector, log file."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "200")

    async def vendor_says(connection: Connection) -> None:
        await connection.request()
        await connection.send(swept.answer)
        if swept.answer is ANSWERS["no http"]:
            connection.writer.close()

    with caught_logs(tmp_path) as logs:
        async with (
            Vendor(vendor_says) as vendor,
            collecting() as collector,
            running(config_of(vendor, collector, tmp_path)) as gateway,
        ):
            swept = Sweep(gateway, collector, logs)
            yield swept
            await swept.channel.close()


async def every_kind_of_call(sweep: Sweep) -> None:
    """Good ones, bad ones, and the vendor's whole repertoire."""
    answer = await sweep.call()
    assert answer.matches[0].person_id == PERSON_ID
    for name, sweep.answer in ANSWERS.items():
        if name == "ok":
            await sweep.call()
        else:
            await sweep.refused(sweep.call())
    sweep.answer = ANSWERS["ok"]
    await sweep.refused(sweep.call(token=TOKEN + "x"))
    await sweep.refused(sweep.call(face_set=UPSTREAM_NAME))
    await sweep.refused(sweep.call(image=pb.Image(base64=base64.b64encode(PHOTO).decode() + "!")))
    await sweep.refused(sweep.call(image=pb.Image(content=PHOTO[100:400])))
    await sweep.refused(sweep.call(threshold=7.0))
    await sweep.refused(sweep.channel.unary_unary("/facegate.search.v1.FaceSearchService/SearchFace")(PHOTO))
    await sweep.refused(sweep.channel.unary_unary(f"/{UPSTREAM_NAME.replace('canary', 'other')}/X")(PHOTO))


async def test_no_canary_is_in_any_sink(sweep: Sweep) -> None:
    """Through good and bad calls of every kind."""
    await every_kind_of_call(sweep)
    sinks = await sweep.sinks()
    assert all(sinks.found.values())
    assert len(sweep.logs.lines("rpc.ended")) >= 15
    assert sweep.logs.lines("audit.search")
    assert not sinks.leaks()


def crash(*_: object, **__: object) -> Any:
    """Fails with all there is to know, and keeps it in a local variable."""
    known = (API_SECRET, TOKEN, PHOTO, VENDOR_TEXT, PERSON_ID, UPSTREAM_NAME)
    raise RuntimeError(f"{known}")


@pytest.mark.parametrize(
    "place",
    [
        "gateway.upstream.client.UpstreamClient._ask",
        "gateway.quota.gate.QuotaGate.admit",
        "gateway.rpc.codec.encode_answer",
        "gateway.search.resolve_face_set",
        "gateway.auth.authenticator.Authenticator.authenticate",
    ],
)
async def test_no_crash_tells_what_it_knew(sweep: Sweep, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug anywhere: the caller gets a constant text, the log a class and a place."""
    await sweep.call()
    monkeypatch.setattr(place, crash)
    await sweep.refused(sweep.call())
    await eventually(lambda: bool(sweep.logs.lines("rpc.unhandled_exception")), "the line of the crash")
    sinks = await sweep.sinks()
    assert not sinks.leaks()


async def test_a_librarys_message_tells_nothing(sweep: Sweep) -> None:
    """Libraries log what they are given: here all of it."""
    await sweep.call()
    for name in ("aiohttp", "grpc", "asyncio", "httpx", "redis"):
        logging.getLogger(name).error("%s %s", API_SECRET, VENDOR_TEXT)
    await eventually(lambda: len(sweep.logs.lines("library.message")) == 5, "the libraries' lines")
    assert not (await sweep.sinks()).leaks()


async def test_the_sweep_finds_what_is_there(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the allow-list taken out, a careless log line is found: the other tests here can fail."""
    import structlog

    def careless(*_: object, **__: object) -> Any:
        structlog.get_logger("careless").error("upstream.failed", image=PHOTO.hex(), secret=API_SECRET)
        raise RuntimeError

    monkeypatch.setattr("gateway.upstream.client.UpstreamClient._ask", careless)
    await sweep.refused(sweep.call())
    assert not (await sweep.sinks()).leaks()
    monkeypatch.setattr(allowed.AllowList, "__call__", lambda *given: given[-1])
    await sweep.refused(sweep.call())
    await eventually(lambda: API_SECRET in sweep.logs.text, "the careless line")
    assert set((await sweep.sinks()).leaks()) == {("logs", "credentials"), ("logs", "image")}
