"""What a request to the vendor can end with: all of it has a name in the catalogue, and the rules know which need whom."""

from __future__ import annotations

import contextlib

import httpx
import orjson
import pytest

from gateway.clock import SystemClock
from gateway.errors import GatewayError, GatewayOverloaded, UpstreamAccessMisconfigured
from gateway.model import Image, ImageFormat, Outcome, SearchParameters, UpstreamAnswer, UpstreamQuery
from gateway.telemetry.call_metrics import CallMetrics
from gateway.telemetry.catalogue import ACCESS_STATUSES, HEALTHY_STATUSES, UPSTREAM_STATUSES
from gateway.telemetry.instruments import OTHER
from gateway.upstream.faults import failure_of
from gateway.upstream.proxy import ProxyFailed, ProxyLoginRefused, ProxyRefused, ProxyUnverified
from gateway.upstream.timed import Timed
from gateway.upstream.verdicts import by_code, by_code_alone
from gateway.upstream.wire import read_answer
from tests.support.upstream import FakeUpstream
from tests.support.vendor_client import trip

ASKED = SearchParameters(0.8, 1, 0)
VENDORS_OWN = [
    "INVALID_ARGUMENT",
    "QUERY_FAILED",
    "DOWNLOAD_ERROR",
    "UNAUTHORIZED",
    "KEY_EXPIRED",
    "NO_PERMISSION",
    "OUT_OF_QUOTA",
    "RATE_LIMIT_EXCEEDED",
    "NOT_FOUND",
    "INTERNAL_ERROR",
    "MADE_UP",
]
BODIES = (b"", b"{}", b'{"status": "OK"}', *(orjson.dumps({"status": status}) for status in VENDORS_OWN))


def verdicts() -> list[GatewayError]:
    """Every error that an answer or a fault of the transport can become."""
    found: list[GatewayError] = []
    for code in range(200, 600):
        verdict = by_code(code, None)
        if verdict is not None:
            found.append(verdict)
            continue
        found += [by_code_alone(code, fault) for fault in ("compressed_body", "oversize_body")]
        for body in BODIES:
            try:
                read_answer(code, body, ASKED, no_result="ok", retry_after_seconds=None, now=0.0)
            except GatewayError as error:
                found.append(error)
    request = httpx.Request("POST", "https://vendor.example/")
    for kind in (
        httpx.ConnectTimeout,
        httpx.ReadTimeout,
        httpx.ConnectError,
        httpx.ReadError,
        httpx.RemoteProtocolError,
        ProxyFailed,
        ProxyUnverified,
        ProxyRefused,
        ProxyLoginRefused,
    ):
        found.append(failure_of(kind("", request=request)))
    return found


ON_THE_WAY = {"tls_error", "address_refused", "proxy_tls_error", "proxy_refused", "proxy_login_refused", "redirect"}
"""Of the connection, not of an answer."""


def test_each_has_a_name_of_its_own() -> None:
    """A status that telemetry does not know would be `other`, which tells an operator nothing."""
    statuses = {getattr(error, "upstream_status", "") for error in verdicts()}
    assert len(statuses) > 20
    assert statuses <= set(UPSTREAM_STATUSES)


def test_whatever_refuses_access_is_alarming() -> None:
    """Callers are told that operators are alerted, so the alert has to know each of these."""
    refused = {error.upstream_status for error in verdicts() if isinstance(error, UpstreamAccessMisconfigured)}
    assert refused == {*ACCESS_STATUSES} - ON_THE_WAY


def test_a_verdict_on_the_image_blames_nobody_else() -> None:
    """A tenant with bad photos must not look like a vendor that fails."""
    blamed = {getattr(error, "upstream_status", "") for error in verdicts() if error.reason.value == "IMAGE_REJECTED"}
    assert blamed == {"INVALID_ARGUMENT", "http_413"} <= {*HEALTHY_STATUSES}


QUERY = UpstreamQuery("set", Image(b"", ImageFormat.JPEG, 128, 128), ASKED)


async def measured(end: UpstreamAnswer | Exception) -> CallMetrics:
    """The metrics after one search with this end."""
    metrics = CallMetrics([], [])
    upstream = Timed(FakeUpstream(end), metrics.upstream_ended, SystemClock())
    with contextlib.suppress(GatewayError, RuntimeError):
        await upstream.search(QUERY, trip())
    return metrics


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (UpstreamAnswer((), Outcome.NO_MATCH, ""), "OK"),
        (UpstreamAnswer((), Outcome.NO_RESULT_REPORTED, ""), "QUERY_FAILED"),
        (by_code(413, None), "http_413"),
        (by_code(404, None), "NOT_FOUND"),
        (RuntimeError(), OTHER),
    ],
)
async def test_a_request_counts_once_under_its_status(end: UpstreamAnswer | Exception, status: str) -> None:
    """As an attempt and in the distribution of its status, whoever waits for it."""
    metrics = await measured(end)
    assert [labels for labels, buckets in metrics.upstream.series.items() if sum(buckets[:-1])] == [(status,)]
    assert metrics.attempts.values == {(): 1}


async def test_a_search_that_found_no_connection_is_no_request() -> None:
    """The vendor was not asked, so it did not fail."""
    metrics = await measured(GatewayOverloaded())
    assert not any(sum(buckets[:-1]) for buckets in metrics.upstream.series.values())
    assert metrics.attempts.values == {(): 0}
