"""What callers make up, over real gRPC: it forges no line and adds no series, whatever string it comes in."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import orjson
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from tests.support.callers import AUDIENCE, ISSUER, WORKLOAD, jwt_of, tenant
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal, running
from tests.support.http2 import Http2Client, http2_client
from tests.support.images import jpeg
from tests.support.logs import caught_logs
from tests.support.metrics import metrics_page, values
from tests.support.oidc import SigningKey, key_set
from tests.support.otlp import attributes, collecting
from tests.support.upstream import FakeUpstream

KEY = SigningKey()
SEARCH = "/facegate.search.v1.FaceSearchService/SearchFace"
HOSTILE = (
    'line\n{"time":"2030-01-01T00:00:00Z","level":"info","event":"forged.event","stream":"audit"}',
    "carriage\rreturn\r\nforged.event",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07",
    '","event":"forged.event","level":"info","x":"',
    '"}\n{"event":"forged.event"}',
    "nul\0del\x7ftab\t",
    "separator\u2028next\x85line",
    "right\u202eto left",
    "\\n\\u001b[31m",
    "%0a%1b[31m",
    "a" * 5000,
)


@asynccontextmanager
async def open_to(folder: Path, **sections: Any) -> AsyncIterator[Gateway]:
    """A gateway that takes JWTs and nobody without credentials."""
    (folder / "jwks.json").write_bytes(key_set(KEY.jwk()))
    issuer = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(folder / "jwks.json")}
    auth = {"anonymous_tenant": None, "jwt_issuers": [issuer]}
    config = config_of(auth=auth, tenants=[tenant("kyc", WORKLOAD)], **sections)
    async with running(config, upstream=FakeUpstream()) as gateway:
        yield gateway


def good_token() -> str:
    """Of a caller that the gateway knows."""
    return f"Bearer {jwt_of(KEY, time.time())}"


def search(channel: grpc.aio.Channel, face_set: str = "employees", **metadata: str) -> Any:
    """A search with this face set and this metadata (`_` for `-`)."""
    request = pb.SearchFaceRequest(face_set=face_set, image=pb.Image(content=jpeg()))
    sent = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
    stub: Any = FaceSearchServiceStub(channel)
    return stub.SearchFace(request, metadata=sent, timeout=10)


async def raw_calls(client: Http2Client, hostile: str) -> None:
    """A path and metadata that no gRPC client lets through, or is refused with by gRPC itself."""
    client._h2.config.validate_outbound_headers = False
    client._h2.config.normalize_outbound_headers = False
    authorization = ("authorization", good_token())
    for path, *metadata in (
        (f"/{hostile}/{hostile}",),
        (SEARCH, authorization, ("x-request-id", hostile)),
        (SEARCH, authorization, ("traceparent", hostile), ("tracestate", hostile), ("user-agent", hostile)),
        (SEARCH, ("authorization", f"Bearer {hostile}")),
        (SEARCH, authorization, ("x-tenant-id", hostile), ("grpc-timeout", hostile)),
    ):
        await client.call(path, metadata, wait_seconds=0.05)


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_string_of_a_callers_makes_a_line(
    log_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the path, in metadata, in a token's claims, in a field: each call stays one escaped line, its span too."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with caught_logs(tmp_path, log_format) as logs:
        async with collecting() as collector:
            telemetry = {"otlp_endpoint": collector.endpoint, "trace_sample_ratio": 1.0}
            async with (
                open_to(tmp_path, telemetry=telemetry) as gateway,
                grpc.aio.insecure_channel(gateway.address) as channel,
            ):
                known = 0
                for hostile in HOSTILE:
                    told = [await refusal(search(channel, hostile, authorization=good_token()))]
                    claims = jwt_of(KEY, time.time(), {"kid": hostile}, sub=hostile, iss=hostile, jti=hostile)
                    told.append(await refusal(search(channel, authorization=f"Bearer {claims}")))
                    if hostile.isascii() and hostile.isprintable():
                        given = {"x_request_id": hostile, "traceparent": hostile, "user_agent": hostile}
                        told.append(await refusal(search(channel, "nobodys", authorization=good_token(), **given)))
                    assert not [one for one in told if not one.message.isprintable()]
                    known += sum(one.reason != "CREDENTIALS_INVALID" for one in told)
                    async with http2_client(gateway.address) as client:
                        # gRPC's own answer to headers that are none is to hang up.
                        with suppress(ConnectionError):
                            await raw_calls(client, hostile)
                await eventually(lambda: len(collector.spans) >= known, "a span per call of a known caller")
            logs.output.close()
            text = logs.text
            names = [span.name for span in collector.spans]
            told_of = [str(value) for span in collector.spans for value in attributes(span).values()]
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert all(one.isascii() and one.isprintable() for one in names + told_of)
    lines = text.splitlines()
    if log_format == "json":
        events = [orjson.loads(line)["event"] for line in lines]
        ids = {orjson.loads(line).get("request_id", "none") for line in lines}
        assert not [one for one in ids if not re.fullmatch("[A-Za-z0-9._-]{1,64}", one)]
        assert events.count("rpc.ended") >= known
        assert {"audit.start", "rpc.ended", "audit.refused"} <= set(events) <= KNOWN
    else:
        assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} \[\w+ *\] [a-z]+\.[a-z_.]+ ", line) for line in lines)
    assert max(map(len, lines)) < 1500


async def test_a_stranger_forges_no_audit_event_and_no_trace(tmp_path: Path) -> None:
    """A made-up service with a real method's name, another caller's request id and a sampled trace of his choice."""
    name = secrets.token_hex(8)
    trace = secrets.token_hex(16)
    sent = (("x-request-id", name), ("traceparent", f"00-{trace}-{'1' * 16}-01"))
    with caught_logs(tmp_path) as logs:
        async with open_to(tmp_path) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
            for path in (f"/{name}/SearchFace", SEARCH):
                call: Any = channel.unary_unary(path)(b"", metadata=sent)  # type: ignore[arg-type]
                assert (await refusal(call)).trailers["x-request-id"] == name
            await eventually(lambda: len(logs.lines("audit.refused")) == 2, "both are audited")
            page = values(await metrics_page(gateway.ops_address))
        logs.output.close()
        assert not logs.lines("audit.search")
        assert [(one["kind"], one["method"]) for one in logs.lines("audit.refused")] == [
            ("unknown_method", "other"),
            ("credentials", SEARCH),
        ]
        for line in logs.lines():
            assert line.get("trace_id") != trace
            # The caller finds its call by its id; who reads the audit stream finds the call by the gateway's.
            assert name not in [value for key, value in line.items() if key != "request_id" or "stream" in line]
    assert page['facegate_refusals_total{kind="unknown_method"}'] == 1
    assert page['facegate_refusals_total{kind="credentials"}'] == 1


KNOWN = {
    "audit.start",
    "audit.files",
    "audit.search",
    "audit.refused",
    "audit.refusals",
    "rpc.ended",
    "library.message",
    "files.reloaded",
}


# How a caller may differ from all before it.
STRANGERS: tuple[Callable[[grpc.aio.Channel, str], Any], ...] = (
    lambda channel, name: channel.unary_unary(f"/{name}/{name}")(b"", metadata=(("x-request-id", name),)),  # type: ignore[arg-type]
    lambda channel, name: channel.unary_unary(f"{SEARCH}{name}")(b"", metadata=(("authorization", good_token()),)),  # type: ignore[arg-type]
    lambda channel, name: search(channel, f"a{name}", authorization=good_token(), x_request_id=name),
    lambda channel, name: search(channel, authorization=f"Bearer {name}", user_agent=name),
    lambda channel, name: search(channel, authorization=f"Bearer {jwt_of(KEY, time.time(), sub=name)}"),
    lambda channel, name: search(channel, authorization=f"Bearer {jwt_of(KEY, time.time(), iss=name)}"),
    lambda channel, name: search(channel, x_tenant_id=name, traceparent=f"00-{name * 2}-{name}-01"),
)


async def test_random_callers_add_no_series(tmp_path: Path) -> None:
    """Methods, face sets, request ids, tokens, tenants and traces that nobody knows: after the first, none is new."""
    with caught_logs(tmp_path):
        async with (
            open_to(tmp_path) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            found: list[set[str]] = []
            for number in range(12):
                for stranger in STRANGERS:
                    await refusal(stranger(channel, secrets.token_hex(8)))
                if number in {0, 11}:
                    found.append(set(values(await metrics_page(gateway.ops_address))))
    assert found[0] == found[1]
    assert any('rpc_method="other"' in series for series in found[1])
