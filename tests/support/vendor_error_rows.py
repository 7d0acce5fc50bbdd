"""The vendor's rows of the error table: what the vendor does, and what the caller gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.end_to_end import VENDOR_TEXT

HTML = f"<html>{VENDOR_TEXT}</html>"
# A body that would be a good answer, if the code before it did not say otherwise.
GOOD_BODY = '{"status":"OK","request_id":"TID8bf47ab6eda64476973cc5f5b6ebf57e","result":[]}'


@dataclass(frozen=True)
class VendorRow:
    """`fault` is the sandbox's. `charged`: C of the contract. `retry_after`: the delay that the caller is told."""

    reason: str
    fault: Mapping[str, Any]
    charged: bool = False
    retry_after: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def _status(status: str, **more: Any) -> dict[str, Any]:
    return {"kind": "status", "status": status, "reason": VENDOR_TEXT, **more}


def _http(code: int, body: str = HTML, **more: Any) -> dict[str, Any]:
    return {"kind": "http", "http_code": code, "body": body, **more}


def _json(body: str, code: int = 200) -> dict[str, Any]:
    return _http(code, body, content_type="application/json")


_IMPATIENT = {"timeout_seconds": 0.3}
_MATCH = '{"person_id":1,"face_id":2,"score":0.9,"create_time":1669077702}'

VENDOR_ROWS: Mapping[str, VendorRow] = {
    "invalid argument": VendorRow("IMAGE_REJECTED", _status("INVALID_ARGUMENT"), charged=True),
    "413": VendorRow("IMAGE_REJECTED", _http(413), charged=True),
    "413 with a good body": VendorRow("IMAGE_REJECTED", _json(GOOD_BODY, 413), charged=True),
    "query failed": VendorRow("FACE_SET_UNUSABLE", _status("QUERY_FAILED")),
    "query failed on 200": VendorRow("FACE_SET_UNUSABLE", _status("QUERY_FAILED", http_code=200)),
    "no result as an error": VendorRow(
        "FACE_SET_UNUSABLE", _status("QUERY_FAILED") | {"reason": "no result"}, settings={"no_result": "error"}
    ),
    "download error": VendorRow("UPSTREAM_UNAVAILABLE", _status("DOWNLOAD_ERROR")),
    "408": VendorRow("UPSTREAM_UNAVAILABLE", _http(408)),
    "502 with a good body": VendorRow("UPSTREAM_UNAVAILABLE", _json(GOOD_BODY, 502)),
    "503 with another status": VendorRow("UPSTREAM_UNAVAILABLE", _status("UNAUTHORIZED", http_code=503)),
    "503 with a delay": VendorRow("UPSTREAM_UNAVAILABLE", _http(503, retry_after=7), retry_after=7),
    "reset before the answer": VendorRow("UPSTREAM_UNAVAILABLE", {"kind": "reset"}),
    "closed before the answer": VendorRow("UPSTREAM_UNAVAILABLE", {"kind": "reset", "graceful": True}),
    "reset within the answer": VendorRow("UPSTREAM_UNAVAILABLE", {"kind": "reset", "when": "after_headers"}),
    "unauthorized": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _status("UNAUTHORIZED")),
    "key expired": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _status("KEY_EXPIRED")),
    "no permission": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _status("NO_PERMISSION")),
    "unknown 401": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _http(401)),
    "unknown 403": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _json('{"status":"WHATEVER"}', 403)),
    "not found": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _status("NOT_FOUND")),
    "404 with a good body": VendorRow("UPSTREAM_ACCESS_MISCONFIGURED", _json(GOOD_BODY, 404)),
    "out of quota": VendorRow("UPSTREAM_QUOTA_EXHAUSTED", _status("OUT_OF_QUOTA")),
    "rate limit exceeded": VendorRow("UPSTREAM_RATE_LIMITED", _status("RATE_LIMIT_EXCEEDED")),
    "429 with a delay": VendorRow("UPSTREAM_RATE_LIMITED", _http(429, retry_after=9), retry_after=9),
    "429 with a good body": VendorRow("UPSTREAM_RATE_LIMITED", _json(GOOD_BODY, 429)),
    "internal error": VendorRow("UPSTREAM_ERROR", _status("INTERNAL_ERROR")),
    "500 of a proxy": VendorRow("UPSTREAM_ERROR", _http(500)),
    "504": VendorRow("UPSTREAM_TIMEOUT", _json(GOOD_BODY, 504)),
    "504 with a delay": VendorRow("UPSTREAM_TIMEOUT", _http(504, retry_after=7)),
    "no answer": VendorRow("UPSTREAM_TIMEOUT", {"kind": "hang"}, settings=_IMPATIENT),
    "a drip": VendorRow("UPSTREAM_TIMEOUT", {"kind": "drip", "interval_seconds": 0.1}, settings=_IMPATIENT),
    "redirect": VendorRow("UPSTREAM_BAD_RESPONSE", {"kind": "redirect"}),
    "redirect with a good body": VendorRow("UPSTREAM_BAD_RESPONSE", _json(GOOD_BODY, 302)),
    "not JSON": VendorRow("UPSTREAM_BAD_RESPONSE", _http(200)),
    "garbage": VendorRow("UPSTREAM_BAD_RESPONSE", {"kind": "garbage"}),
    "not HTTP": VendorRow("UPSTREAM_BAD_RESPONSE", {"kind": "garbage", "level": "protocol"}),
    "over 64 KiB": VendorRow("UPSTREAM_BAD_RESPONSE", {"kind": "oversize", "size_bytes": 65_537}),
    "compressed": VendorRow("UPSTREAM_BAD_RESPONSE", {"kind": "gzip_bomb", "size_bytes": 1_000_000}),
    "OK without a result": VendorRow("UPSTREAM_BAD_RESPONSE", _json('{"status":"OK","request_id":"TID1"}')),
    "a match of wrong type": VendorRow("UPSTREAM_BAD_RESPONSE", _json('{"status":"OK","result":[{"person_id":"1"}]}')),
    "a match twice": VendorRow("UPSTREAM_BAD_RESPONSE", _json(f'{{"status":"OK","result":[{_MATCH},{_MATCH}]}}')),
    "unknown status": VendorRow("UPSTREAM_BAD_RESPONSE", _json(f'{{"status":"{VENDOR_TEXT}"}}', 400)),
}
