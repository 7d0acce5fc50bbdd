"""Every answer that the vendor or a proxy in front of it can give, over a real socket, and what it is for callers."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
import pytest

from gateway.errors import (
    FaceSetUnusable,
    GatewayError,
    ImageRejected,
    UpstreamAccessMisconfigured,
    UpstreamBadResponse,
    UpstreamFailure,
    UpstreamInternalError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from gateway.model import Match, Outcome
from tests.support.vendor import MATCH, OK, REQUEST_ID, Vendor, always, answering, found, json_response, response
from tests.support.vendor_client import client, query, trip

VENDOR_TEXT = "canary-vendor-text"


def failed(status: str, reason: str = VENDOR_TEXT) -> dict[str, str]:
    """A failure as the vendor's page shows it."""
    return {"status": status, "reason": reason, "request_id": REQUEST_ID}


async def failure_of(answer: bytes, **overrides: Any) -> GatewayError:
    """What a search raises when the vendor answers so, and that a good answer comes through afterwards."""
    async with Vendor(answering([answer, OK])) as vendor, client(vendor.base_url, **overrides) as upstream:
        with pytest.raises(GatewayError) as caught:
            await upstream.search(query(), trip())
        assert (await upstream.search(query(), trip())).outcome is Outcome.MATCHED
    assert VENDOR_TEXT not in str(caught.value) + repr(vars(caught.value))
    assert caught.value.__context__ is None
    return caught.value


BY_STATUS: dict[str, type[GatewayError]] = {
    "INVALID_ARGUMENT": ImageRejected,
    "QUERY_FAILED": FaceSetUnusable,
    "DOWNLOAD_ERROR": UpstreamUnavailable,
    "UNAUTHORIZED": UpstreamAccessMisconfigured,
    "KEY_EXPIRED": UpstreamAccessMisconfigured,
    "NO_PERMISSION": UpstreamAccessMisconfigured,
    "OUT_OF_QUOTA": UpstreamQuotaExhausted,
    "RATE_LIMIT_EXCEEDED": UpstreamRateLimited,
    "NOT_FOUND": UpstreamAccessMisconfigured,
    "INTERNAL_ERROR": UpstreamInternalError,
}


@pytest.mark.parametrize("status", BY_STATUS)
@pytest.mark.parametrize("code", [200, 400, 401, 403, 500])
async def test_the_body_s_status_decides(status: str, code: int) -> None:
    """On codes that leave it open, HTTP 200 among them, the body's status is the verdict."""
    failure = await failure_of(json_response(code, failed(status)))
    assert type(failure) is BY_STATUS[status]
    assert getattr(failure, "upstream_status", "") == status


BY_CODE: dict[int, tuple[type[GatewayError], str]] = {
    301: (UpstreamBadResponse, "redirect"),
    307: (UpstreamBadResponse, "redirect"),
    399: (UpstreamBadResponse, "redirect"),
    404: (UpstreamAccessMisconfigured, "NOT_FOUND"),
    408: (UpstreamUnavailable, "http_408"),
    413: (ImageRejected, "http_413"),
    429: (UpstreamRateLimited, "http_429"),
    502: (UpstreamUnavailable, "http_502"),
    503: (UpstreamUnavailable, "http_503"),
    504: (UpstreamTimeout, "http_504"),
}


@pytest.mark.parametrize("code", BY_CODE)
@pytest.mark.parametrize("document", [failed("OUT_OF_QUOTA"), found(dict(MATCH)), "<html>", None])
async def test_a_proxy_s_code_decides_whatever_the_body(code: int, document: object) -> None:
    """Codes that a proxy makes are believed before any body, even one that says OK."""
    failure = await failure_of(json_response(code, document))
    kind, status = BY_CODE[code]
    assert type(failure) is kind
    assert getattr(failure, "upstream_status", "") == status


@pytest.mark.parametrize(
    ("code", "kind", "status"),
    [
        (400, UpstreamBadResponse, "not_json"),
        (401, UpstreamAccessMisconfigured, "http_401"),
        (403, UpstreamAccessMisconfigured, "http_403"),
        (405, UpstreamBadResponse, "not_json"),
        (500, UpstreamInternalError, "http_5xx"),
        (520, UpstreamInternalError, "http_5xx"),
        (200, UpstreamBadResponse, "not_json"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>" + VENDOR_TEXT.encode(), b"[1]", b"[" * 60_000, b"\xff\xfe{}"])
async def test_the_code_decides_for_a_body_without_a_status(
    code: int, kind: type[UpstreamFailure], status: str, body: bytes
) -> None:
    """A body that cannot be read leaves the code; a bare 400 blames nobody."""
    failure = await failure_of(response(code, body))
    assert type(failure) is kind
    assert failure.upstream_status == status


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (200, UpstreamBadResponse),
        (400, UpstreamBadResponse),
        (401, UpstreamAccessMisconfigured),
        (403, UpstreamAccessMisconfigured),
        (500, UpstreamBadResponse),
    ],
)
async def test_an_unknown_status(code: int, kind: type[GatewayError]) -> None:
    """An unknown status is an answer not understood, save on 401 and 403, which are about access."""
    assert type(await failure_of(json_response(code, failed(VENDOR_TEXT)))) is kind


async def test_a_match() -> None:
    """The vendor's sample answer, whole; unknown fields are ignored."""
    answer = json_response(200, found(MATCH | {"new": 1}) | {"other": []})
    async with Vendor(always(answer)) as vendor, client(vendor.base_url) as upstream:
        reply = await upstream.search(query(), trip())
    assert reply.matches == (Match(1, 435449455488008194, 0.985, 1669077702),)
    assert (reply.outcome, reply.request_id, reply.attempts) == (Outcome.MATCHED, REQUEST_ID, 1)


async def test_no_match() -> None:
    """OK without matches is NO_MATCH."""
    async with Vendor(always(json_response(200, found()))) as vendor, client(vendor.base_url) as upstream:
        reply = await upstream.search(query(), trip())
    assert (reply.matches, reply.outcome) == ((), Outcome.NO_MATCH)


async def test_no_result_is_an_answer() -> None:
    """QUERY_FAILED with the page's reason is an empty answer of its own kind, unless it is configured as an error."""
    answer = json_response(400, failed("QUERY_FAILED", "no result"))
    async with Vendor(always(answer)) as vendor:
        async with client(vendor.base_url) as upstream:
            reply = await upstream.search(query(), trip())
        assert (reply.matches, reply.outcome, reply.request_id) == ((), Outcome.NO_RESULT_REPORTED, REQUEST_ID)
        async with client(vendor.base_url, no_result="error") as upstream:
            with pytest.raises(FaceSetUnusable):
                await upstream.search(query(), trip())


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (json_response(403, failed("OUT_OF_QUOTA")), 6400.0),
        (json_response(429, {}, "retry-after: 7"), 7.0),
        (json_response(429, {}, "retry-after: Tue, 14 Nov 2023 22:13:50 GMT"), 30.0),
        (json_response(403, failed("RATE_LIMIT_EXCEEDED"), "retry-after: 999999"), 3600.0),
        (json_response(429, {}, "retry-after: " + "9" * 5000), 2.0),
        (json_response(429, {}), 2.0),
        (json_response(503, {}, "retry-after: 3"), 3.0),
        (json_response(503, {}), None),
        (json_response(504, {}, "retry-after: 3"), None),
        (json_response(404, {}, "retry-after: 3"), None),
        (json_response(500, failed("INTERNAL_ERROR"), "retry-after: 3"), None),
    ],
)
async def test_when_to_come_back(answer: bytes, seconds: float | None) -> None:
    """Retry-After is read as seconds or a date, bounded, where it can help; a used-up quota comes back at midnight UTC."""
    assert (await failure_of(answer)).retry_after_seconds == seconds


async def test_an_answer_of_more_than_64_kib() -> None:
    """The limit is exact: 65,536 bytes are read, one more is not, with and without a content-length."""
    document = orjson.dumps(found(dict(MATCH)))
    fits, over = document.ljust(65_536), document.ljust(65_537)
    async with Vendor(answering([response(200, fits)])) as vendor, client(vendor.base_url) as upstream:
        assert (await upstream.search(query(), trip())).outcome is Outcome.MATCHED
    assert getattr(await failure_of(response(200, over)), "upstream_status", "") == "oversize_body"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(over), over)
    assert getattr(await failure_of(chunked), "upstream_status", "") == "oversize_body"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "weird"])
async def test_a_compressed_answer_is_refused_unread(encoding: str) -> None:
    """A body that would have to be decompressed is refused, a bomb or not."""
    bomb = gzip.compress(b"0" * 50_000_000, 9)
    failure = await failure_of(response(200, bomb, f"content-encoding: {encoding}"))
    assert getattr(failure, "upstream_status", "") == "compressed_body"


async def test_the_identity_encoding_is_none() -> None:
    """A server that names the absence of compression is understood."""
    answer = json_response(200, found(dict(MATCH)), "content-encoding: Identity")
    async with Vendor(always(answer)) as vendor, client(vendor.base_url) as upstream:
        assert (await upstream.search(query(), trip())).outcome is Outcome.MATCHED


async def test_a_redirect_is_not_followed() -> None:
    """The secrets go to the configured host alone, wherever the vendor points."""
    async with Vendor(always(OK)) as elsewhere:
        answer = response(307, b"", f"location: {elsewhere.base_url}/faceset/v2/search_face")
        async with Vendor(always(answer)) as vendor, client(vendor.base_url) as upstream:
            with pytest.raises(UpstreamBadResponse):
                await upstream.search(query(), trip())
        assert elsewhere.accepted == 0


async def test_no_cookie_is_kept() -> None:
    """A cookie of one search is not sent with the next."""
    answer = json_response(200, found(), "set-cookie: session=1; Path=/", "set-cookie: =;;\x01=")
    async with Vendor(always(answer)) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
        await upstream.search(query(), trip())
    assert [request.headers.get("cookie") for request in vendor.received] == [None, None]
