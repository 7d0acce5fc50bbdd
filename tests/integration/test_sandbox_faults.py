"""The sandbox does wrong what it is told to, to those it is told to, and counts."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.sandbox.server import SANDBOX_API_ID
from gateway.sandbox.verdicts import HTTP_CODES, VendorStatus
from tests.support.conditions import eventually
from tests.support.sandbox import SandboxCaller, sandbox_caller


@pytest.fixture
async def caller() -> AsyncIterator[SandboxCaller]:
    async with sandbox_caller() as running:
        yield running


async def post(caller: SandboxCaller, **fault: Any) -> int:
    code, answer = await caller.control("POST", "faults", fault)
    assert code == 201, answer
    return int(answer["faults"][0]["id"])


async def exchange(caller: SandboxCaller) -> bytes:
    """Sends a small request by hand and returns every byte that comes back. Raises `ConnectionError` on a reset."""
    reader, writer = await asyncio.open_connection(caller.sandbox.host, caller.sandbox.port)
    try:
        writer.write(
            b"POST /faceset/v2/search_face HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nname=demo"
        )
        return await asyncio.wait_for(reader.read(), 60)
    finally:
        writer.close()


@pytest.mark.parametrize("status", list(VendorStatus))
async def test_every_status_with_its_http_code(caller: SandboxCaller, status: VendorStatus) -> None:
    """For the next n calls, then all is well again."""
    await post(caller, kind="status", status=status, calls=2)
    for _ in range(2):
        reply = await caller.search()
        assert (reply.code, reply.json["status"]) == (HTTP_CODES[status], status)
        assert reply.json["request_id"].startswith("TID")
    assert (await caller.search()).json["result"]
    assert caller.sandbox.stats.statuses[status] == (3 if status is VendorStatus.OK else 2)


async def test_a_status_may_come_with_another_code_reason_and_retry_after(caller: SandboxCaller) -> None:
    """As the vendor might send it: on HTTP 200, with a text of its own, with Retry-After as seconds or date."""
    await post(caller, kind="status", status="QUERY_FAILED", http_code=200, reason="why", retry_after=7, calls=1)
    reply = await caller.search()
    assert (reply.code, reply.json["reason"], reply.headers["Retry-After"]) == (200, "why", "7")
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    await post(caller, kind="http", http_code=429, retry_after=date)
    assert (await caller.search()).headers["Retry-After"] == date


async def test_any_http_answer(caller: SandboxCaller) -> None:
    """A proxy's page: code, body, type and headers are free."""
    await post(caller, kind="http", http_code=503, body="<h1>no</h1>", content_type="text/html", headers={"X-A": "b"})
    async with caller.session.post(caller.endpoint) as response:
        assert (response.status, await response.text()) == (503, "<h1>no</h1>")
        assert (response.headers["Content-Type"], response.headers["X-A"]) == ("text/html", "b")


async def test_latency_delays_the_right_answer(caller: SandboxCaller) -> None:
    """Also before any other fault."""
    for fault in ({"kind": "latency"}, {"kind": "status", "status": "OK"}):
        await post(caller, **fault, latency_seconds=0.15, calls=1)
        before = asyncio.get_running_loop().time()
        assert (await caller.search()).json["status"] == "OK"
        assert asyncio.get_running_loop().time() - before >= 0.15


@pytest.mark.parametrize("calls", [None, 1])
async def test_a_hang_lasts_until_it_is_cleared(caller: SandboxCaller, calls: int | None) -> None:
    """Also if the fault is used up meanwhile; then the connection closes without a byte."""
    await post(caller, kind="hang", calls=calls)
    hanging = asyncio.create_task(exchange(caller))
    await eventually(lambda: caller.sandbox.stats.total.in_flight == 1, "the call hangs")
    await asyncio.sleep(0.05)
    assert not hanging.done()
    assert (await caller.control("DELETE", "faults"))[1] == {"cleared": 1}
    assert await hanging == b""
    assert caller.sandbox.stats.total.in_flight == 0


async def test_a_caller_that_leaves_ends_its_hang(caller: SandboxCaller) -> None:
    """It is counted as gone and no longer in flight."""
    await post(caller, kind="hang")
    leaving = asyncio.create_task(caller.search())
    await eventually(lambda: caller.sandbox.stats.total.in_flight == 1, "the call hangs")
    leaving.cancel()
    await eventually(lambda: caller.sandbox.stats.total.in_flight == 0, "the call is gone")
    assert caller.sandbox.stats.statuses == {"gone": 1}


async def test_the_sandbox_stops_while_calls_hang() -> None:
    """It does not wait for the calls, which would hang for ever."""
    async with asyncio.timeout(60):
        async with sandbox_caller() as caller:
            await post(caller, kind="hang")
            hanging = asyncio.create_task(exchange(caller))
            await eventually(lambda: caller.sandbox.stats.total.in_flight == 1, "the call hangs")
        assert await hanging == b""


async def test_a_drip_is_the_right_answer_slowly(caller: SandboxCaller) -> None:
    """Byte by byte."""
    await post(caller, kind="drip", interval_seconds=0.001)
    loop = asyncio.get_running_loop()
    before = loop.time()
    reply = await caller.search()
    assert reply.json["result"]
    assert loop.time() - before >= 0.1


async def test_resets(caller: SandboxCaller) -> None:
    """Before any byte, or after the headers and half of the body; abruptly, or by a close."""
    await post(caller, kind="reset", calls=1)
    with pytest.raises(ConnectionResetError):
        await exchange(caller)
    await post(caller, kind="reset", graceful=True, calls=1)
    assert await exchange(caller) == b""
    await post(caller, kind="reset", when="after_headers", calls=1)
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientOSError, ConnectionResetError)):
        await caller.search()
    await post(caller, kind="reset", when="after_headers", graceful=True, calls=1)
    head, _, half = (await exchange(caller)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401")
    assert half.startswith(b'{"status"')
    assert not half.endswith(b"}")
    assert caller.sandbox.stats.statuses == {"reset": 4}


async def test_garbage(caller: SandboxCaller) -> None:
    """A body that is no JSON, or bytes that are no HTTP."""
    await post(caller, kind="garbage", calls=1)
    reply = await caller.search()
    assert (reply.code, reply.headers["Content-Type"], reply.json) == (200, "application/json", {})
    await post(caller, kind="garbage", level="protocol", calls=1)
    assert not (await exchange(caller)).startswith(b"HTTP")


async def test_oversize(caller: SandboxCaller) -> None:
    """Exactly as large as asked for, and well-formed."""
    await post(caller, kind="oversize", size_bytes=70_000)
    reply = await caller.search()
    assert (reply.headers["Content-Length"], reply.json["status"]) == ("70000", "OK")


async def test_gzip_bomb(caller: SandboxCaller) -> None:
    """A small body that unpacks to what was asked for, and well-formed."""
    await post(caller, kind="gzip_bomb", size_bytes=8_000_000)
    async with aiohttp.ClientSession(auto_decompress=False) as session, session.post(caller.endpoint) as response:
        packed = await response.read()
        assert response.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 20_000
    unpacked = gzip.decompress(packed)
    assert len(unpacked) == 8_000_000
    assert unpacked.startswith(b'{"status":"OK"')
    assert unpacked.endswith(b'"}')


async def test_redirect(caller: SandboxCaller) -> None:
    """By default to the endpoint itself: whoever follows would not notice."""
    await post(caller, kind="redirect", calls=1)
    reply = await caller.search()
    assert (reply.code, reply.headers["Location"]) == (307, "/faceset/v2/search_face")
    await post(caller, kind="redirect", http_code=302, location="http://127.0.0.1:9/", calls=1)
    assert (await caller.search()).headers["Location"] == "http://127.0.0.1:9/"


async def test_a_fault_strikes_only_its_credential_or_face_set(caller: SandboxCaller) -> None:
    """Others are served; the oldest fault that fits strikes."""
    await post(caller, kind="status", status="OUT_OF_QUOTA", api_id=SANDBOX_API_ID)
    await post(caller, kind="status", status="INTERNAL_ERROR", face_set="visitors")
    await post(caller, kind="status", status="DOWNLOAD_ERROR", face_set="visitors", api_id=SANDBOX_API_ID)
    second = "sandbox-second-id"
    assert (await caller.search()).json["status"] == "OUT_OF_QUOTA"
    assert (await caller.search(name="visitors")).json["status"] == "OUT_OF_QUOTA"
    assert (await caller.search(api_id=second)).json["status"] == "OK"
    assert (await caller.search(api_id=second, name="visitors")).json["status"] == "INTERNAL_ERROR"


async def test_faults_are_listed_and_cleared_one_by_one(caller: SandboxCaller) -> None:
    """With how often each struck and will strike."""
    first = await post(caller, kind="status", status="INTERNAL_ERROR", calls=3)
    second = await post(caller, kind="hang", api_id="another")
    await caller.search()
    code, listed = await caller.control("GET", "faults")
    assert code == 200
    assert [(one["id"], one["kind"], one["struck"], one["remaining"]) for one in listed["faults"]] == [
        (first, "status", 1, 2),
        (second, "hang", 0, None),
    ]
    assert await caller.control("DELETE", f"faults/{first}") == (200, {"cleared": 1})
    assert (await caller.control("DELETE", f"faults/{first}"))[0] == 404
    assert (await caller.search()).json["status"] == "OK"


async def test_a_list_of_faults_is_taken_whole_or_not_at_all(caller: SandboxCaller) -> None:
    """In its order."""
    script = [{"kind": "status", "status": status, "calls": 1} for status in ("INTERNAL_ERROR", "DOWNLOAD_ERROR")]
    assert (await caller.control("POST", "faults", [*script, {"kind": "?"}]))[0] == 400
    assert (await caller.search()).json["status"] == "OK"
    assert (await caller.control("POST", "faults", script))[0] == 201
    assert [(await caller.search()).json["status"] for _ in range(3)] == ["INTERNAL_ERROR", "DOWNLOAD_ERROR", "OK"]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({}, "`kind` is missing: give one of status, http"),
        ({"kind": "slow"}, "`kind` is unknown: give one of status, http"),
        (3, "a fault is a JSON object"),
        ({"kind": "hang", "call": 1}, "did you mean `calls`?"),
        ({"kind": "hang", "calls": 0}, "`calls`: input should be greater than or equal to 1"),
        ({"kind": "hang", "calls": "1"}, "`calls`: input should be a valid integer"),
        ({"kind": "status", "status": "TEAPOT"}, "`status`: input should be 'OK', 'INVALID_ARGUMENT'"),
        ({"kind": "status"}, "`status` is missing"),
        ({"kind": "http", "http_code": 99}, "`http_code`: input should be greater than or equal to 200"),
        ({"kind": "http", "http_code": 200, "headers": {"A": "b\r\nC: d"}}, "`headers.A`: string should match"),
        ({"kind": "latency"}, "`latency_seconds` is missing"),
        ({"kind": "latency", "latency_seconds": -1}, "`latency_seconds`: input should be greater"),
        ({"kind": "redirect", "http_code": 200}, "`http_code`: input should be 301"),
    ],
)
async def test_a_bad_fault_is_refused_with_its_remedy(caller: SandboxCaller, fault: Any, says: str) -> None:
    """400, and nothing is in force."""
    code, answer = await caller.control("POST", "faults", fault)
    assert code == 400
    assert says in answer["error"]
    assert (await caller.control("GET", "faults"))[1] == {"faults": []}


async def test_a_fault_that_is_no_json_is_refused(caller: SandboxCaller) -> None:
    """With an example."""
    async with caller.session.post(caller.sandbox.url + "/__sandbox/faults", data=b"hang!") as response:
        assert response.status == 400
        assert "not JSON" in (await response.json())["error"]


async def test_stats_count(caller: SandboxCaller) -> None:
    """Calls, statuses, bytes, ids and face sets; names from outside do not make the numbers grow."""
    for number in range(3):
        await caller.search(name=f"unheard-of-{number}", api_id=f"made-up-{number}")
    await caller.search()
    _, numbers = await caller.control("GET", "stats")
    once, thrice = ({"calls": n, "in_flight": 0, "highest_in_flight": 1} for n in (1, 3))
    assert numbers["calls"] == 4
    assert numbers["statuses"] == {"UNAUTHORIZED": 3, "OK": 1}
    assert numbers["api_ids"] == {"unknown": thrice, SANDBOX_API_ID: once}
    assert numbers["face_sets"] == {"unknown": thrice, "demo": once}
    assert numbers["bytes_received"] > 4 * 16_000


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_stats_show_calls_at_once_and_begin_anew(caller: SandboxCaller, method: str) -> None:
    """The most at once is kept until a reset; what is in flight stays in flight."""
    await post(caller, kind="hang")
    calls = [asyncio.create_task(caller.search()) for _ in range(5)]
    await eventually(lambda: caller.sandbox.stats.face_sets["demo"].in_flight == 5, "five at once")
    for call in calls[:3]:
        call.cancel()
    await eventually(lambda: caller.sandbox.stats.total.in_flight == 2, "two are left")
    assert (await caller.control("GET", "stats"))[1]["highest_in_flight"] == 5
    _, numbers = await caller.control(method, "stats")
    assert (numbers["calls"], numbers["in_flight"], numbers["highest_in_flight"], numbers["statuses"]) == (0, 2, 2, {})
    await caller.control("DELETE", "faults")
    await asyncio.gather(*calls, return_exceptions=True)
