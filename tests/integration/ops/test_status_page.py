"""The operators' listener: the status page in a real browser, its data, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from PIL import Image

from gateway.model import Role, Tenant
from gateway.ops.listener import Readiness, serve_ops
from gateway.ops.status import Replica, StatusReport
from gateway.quota.status import LimitKind, LimitStatus, QuotaStatus
from gateway.telemetry import catalogue
from gateway.telemetry.history import Moment
from gateway.telemetry.observed import Observed
from gateway.telemetry.setup import Telemetry
from tests.support.browser import browse, screenshot
from tests.support.clock import ManualClock

# Once is enough: the loops differ in connections, which `test_bounds` is about.
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])
needs_browser = pytest.mark.usefixtures("chromium")

REPLICA = Replica("pod-7f", lambda: "0123456789abcdef")
TENANTS = (
    Tenant("kyc", face_sets={"employees": "canary-upstream-name"}),
    Tenant("onboarding-of-visitors-at-the-front-desk"),
    Tenant("ops", Role.OPERATOR),
)


async def limits(tenant: Tenant) -> QuotaStatus:
    """Bars of every colour."""
    if tenant.role is Role.OPERATOR:
        return QuotaStatus((), degraded=False)
    used = 100 if tenant.id == "kyc" else 12
    return QuotaStatus(
        (
            LimitStatus("rate", LimitKind.RATE, 100, used, 100 - used),
            LimitStatus("concurrency", LimitKind.CONCURRENCY, 32, 27, 5),
            LimitStatus("upstream_calls_per_day", LimitKind.UPSTREAM_CALLS, 10_000, 3_210, 6_790),
        ),
        degraded=tenant.id != "kyc",
    )


def buckets(milliseconds: int, count: int) -> list[float]:
    """Latencies that are all below a bound."""
    bounds = catalogue.RPC_DURATION.bounds
    return [float(count) if bound == milliseconds / 1000 else 0.0 for bound in bounds] + [0.0]


def a_telemetry(clock: ManualClock, *, denied: bool = False) -> Telemetry:
    """Ten minutes of traffic; with `denied`, of which the vendor refuses all that it gets."""
    telemetry = Telemetry([], [tenant.id for tenant in TENANTS], clock)
    telemetry.observe(
        Observed(
            stores=lambda: {"quota": True, "cache": False},
            credentials=lambda: {"primary": True},
            calls_in_flight=lambda: 17,
            upstream_in_flight=lambda: 9,
            cache_bytes=lambda: 31_000_000,
            cache_entries=lambda: 4_211,
        )
    )
    for step in range(120):
        calls = int(900 + 500 * math.sin(step / 9))
        refused = calls // 12 if step > 60 else 3
        failed = calls // 5 if 80 < step < 95 else 0
        latency = {"cache": buckets(5, calls // 2), "vendor": buckets(250, 0 if denied else calls // 2)}
        telemetry.history.add(
            Moment(
                5.0,
                calls,
                refused,
                failed,
                hits=calls // 2,
                searched=calls - refused,
                asked=calls // 2,
                unanswered=calls // 2 if denied else calls // 50,
                latency={**latency, "failed": buckets(1, calls // 2 if denied else 0)},
                statuses={"UNAUTHORIZED": calls // 2} if denied else {},
                ends={
                    ("kyc", "UPSTREAM_ACCESS_MISCONFIGURED"): calls // 2 if denied else 1,
                    ("kyc", "TENANT_RATE_LIMITED"): refused,
                },
            )
        )
    return telemetry


@asynccontextmanager
async def listening(
    *,
    problems: Sequence[str] = ("configuration: tenants.yaml is empty",),
    tenants: Sequence[Tenant] = TENANTS,
    denied: bool = False,
) -> AsyncIterator[str]:
    """A listener with figures to show."""
    clock = ManualClock()
    telemetry = a_telemetry(clock, denied=denied)
    readiness = Readiness(True, tuple(problems))
    report = StatusReport(telemetry, lambda: tenants, limits, clock, lambda: readiness, REPLICA)
    report.tick()
    clock.advance(100)
    serving = serve_ops("127.0.0.1:0", lambda: readiness, clock=clock, metrics=telemetry.collect, status=report)
    async with serving as address:
        yield f"http://{address}"


async def get(url: str) -> tuple[Any, str]:
    """An answer's headers and text."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
        return answer.headers, await answer.text()


async def test_the_page_runs_nothing_but_its_own_parts() -> None:
    """Scripts and styles by digest, no other origin, no frame around it."""
    async with listening() as url:
        headers, text = await get(url)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'", policy)
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"\son[a-z]+=|\sstyle=|innerHTML|https?://(?!www\.w3\.org/2000/svg)", text)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


async def test_the_data_is_what_may_be_shown() -> None:
    """Exactly these keys: a new one has to be thought about. No upstream name of a face set."""
    async with listening() as url, aiohttp.ClientSession() as session, session.get(f"{url}/status.json") as answer:
        data = await answer.json()
        text = await answer.text()
    assert data.keys() == {
        "ready",
        "problems",
        "version",
        "replica",
        "uptime_seconds",
        "config_version",
        "troubles",
        "minute",
        "failures",
        "time",
        "stores",
        "credentials",
        "calls_in_flight",
        "upstream_in_flight",
        "cache_bytes",
        "cache_entries",
        "moments",
        "tenants",
    }
    assert {key for row in data["tenants"] for key in row} == {"id", "role", "degraded", "limits"}
    assert "canary" not in text


async def test_metrics_are_prometheus_text() -> None:
    """With the content type that a scrape asks for."""
    async with listening() as url:
        headers, text = await get(f"{url}/metrics")
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE rpc_server_call_duration_seconds histogram\n" in text


async def test_many_browsers_look_once() -> None:
    """Quotas are looked up at most every two seconds, and a slow store does not hold the page up."""
    looks = 0

    async def counting(tenant: Tenant) -> QuotaStatus:
        nonlocal looks
        looks += 1
        if tenant.id == "kyc":
            await asyncio.Event().wait()
        return await limits(tenant)

    clock = ManualClock()
    report = StatusReport(a_telemetry(clock), lambda: TENANTS, counting, clock, lambda: Readiness(True), REPLICA)
    first, *_ = await asyncio.gather(*(report() for _ in range(20)))
    assert looks == len(TENANTS)
    assert first["tenants"][0] == {"id": "kyc", "role": "caller", "degraded": True, "limits": []}
    assert first["tenants"][1]["limits"]
    clock.advance(2.0)
    await report()
    assert looks == 2 * len(TENANTS)


async def test_no_tenant_is_no_error() -> None:
    """A gateway may have none yet."""
    async with listening(tenants=()) as url:
        _, text = await get(f"{url}/status.json")
    assert orjson.loads(text)["tenants"] == []


@needs_browser
async def test_a_browser_shows_the_figures() -> None:
    """The script runs under its policy, draws the charts and the bars, and complains of nothing."""
    async with listening() as url:
        document, complaints = await browse(url, "--dump-dom")
    assert "CONSOLE" not in complaints
    body = document[document.index("<body>") : document.index("<script>")]
    for shown in ("The cache store is out", "configuration: tenants.yaml is empty", "10,000", "store out", "pod-7f"):
        assert shown in body, shown
    assert '<span id="ready" class="pill warn" role="status">ready, with problems</span>' in body
    assert "since 14:13:20 UTC, for 1 min 40 s" in body
    assert '<span>Cache store</span><span class="warn">out</span>' in body
    assert "The figures above are of the last 1 min." in body
    assert "Charts: the last 10 min." in body
    assert re.search(r'id="p50-cache" class="">3.75 ms</b>', body)
    assert re.search(r'id="p50-vendor" class="">175 ms</b>', body)
    assert re.search(r'id="p50-failed" class="">none</b>', body)
    assert '<td>kyc</td><td class="warn">TENANT_RATE_LIMITED</td>' in body
    assert re.search(r"<span>Vendor</span><span class=\"warn\">fails [\d.]+ % of requests</span>", body)
    assert body.count("<rect") > 100
    assert len(re.findall(r"<polyline[^>]*points=\"[\d.]+,", body)) == 3
    assert re.search(r'<div class="bad-bar" style="width: 100%;">', body)
    assert '<div class="warn-bar"' in body
    assert "NaN" not in body
    assert "undefined" not in body


@needs_browser
async def test_a_browser_shows_that_the_vendor_refuses_the_gateway() -> None:
    """Above all else, in the colour of what callers notice, though calls that the cache answers are fast."""
    async with listening(denied=True) as url:
        document, _ = await browse(url, "--dump-dom")
    assert '<span id="ready" class="pill bad" role="status">ready, and failing</span>' in document
    first = document[document.index('<div class="trouble ') :]
    assert first.startswith(
        '<div class="trouble bad"><b>The vendor refuses the credentials, or its address is wrong (UNAUTHORIZED): '
    )
    assert '<td>kyc</td><td class="bad">UPSTREAM_ACCESS_MISCONFIGURED</td>' in document
    assert re.search(r'id="p50-vendor" class="">none</b>', document)


@needs_browser
async def test_hostile_text_is_text() -> None:
    """Whatever a problem or a name holds, it is shown and not run."""
    hostile = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
    async with listening(problems=(hostile,), tenants=(Tenant(hostile),)) as url:
        document, _ = await browse(url, "--dump-dom")
    assert "<title>FaceGate</title>" in document
    assert document.count("&lt;img src=x") == 2


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(390, True), (390, False), (1280, True), (1280, False)])
async def test_it_is_readable_on_a_phone_and_in_the_dark(width: int, dark: bool, tmp_path: Path) -> None:
    """The colours follow the reader's, and nothing is wider than the screen."""
    file = tmp_path / f"status-{width}-{'dark' if dark else 'light'}.png"
    async with listening() as url:
        await screenshot(url, file, width=width, height=1900, dark=dark)
        document, _ = await browse(url, "--dump-dom", f"--window-size={width},1900")
    assert "loading" not in document[document.index("<body>") : document.index("<script>")]
    with Image.open(file) as picture:
        shown = picture.convert("RGB")
    corner = shown.getpixel((2, 2))
    assert isinstance(corner, tuple)
    # The margin on the right is there all the way down: nothing reaches beyond it.
    assert {shown.getpixel((shown.width - 3, y)) for y in range(shown.height)} == {corner}
    assert (max(corner) < 60) is dark
    assert (min(corner) > 200) is not dark
