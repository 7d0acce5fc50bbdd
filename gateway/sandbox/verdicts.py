"""The vendor's published statuses, and answers of its form. Knows no HTTP server."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson


class VendorStatus(StrEnum):
    """Every status of the vendor's page, under its "Error Codes", and OK."""

    OK = "OK"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    QUERY_FAILED = "QUERY_FAILED"
    DOWNLOAD_ERROR = "DOWNLOAD_ERROR"
    UNAUTHORIZED = "UNAUTHORIZED"
    KEY_EXPIRED = "KEY_EXPIRED"
    NO_PERMISSION = "NO_PERMISSION"
    OUT_OF_QUOTA = "OUT_OF_QUOTA"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    NOT_FOUND = "NOT_FOUND"
    INTERNAL_ERROR = "INTERNAL_ERROR"


HTTP_CODES = {
    VendorStatus.OK: 200,
    VendorStatus.INVALID_ARGUMENT: 400,
    VendorStatus.QUERY_FAILED: 400,
    VendorStatus.DOWNLOAD_ERROR: 400,
    VendorStatus.UNAUTHORIZED: 401,
    VendorStatus.KEY_EXPIRED: 401,
    VendorStatus.NO_PERMISSION: 403,
    VendorStatus.OUT_OF_QUOTA: 403,
    VendorStatus.RATE_LIMIT_EXCEEDED: 403,
    VendorStatus.NOT_FOUND: 404,
    VendorStatus.INTERNAL_ERROR: 500,
}

DESCRIPTIONS = {
    VendorStatus.OK: "",
    VendorStatus.INVALID_ARGUMENT: "request parameter is invalid",
    VendorStatus.QUERY_FAILED: "face set error",
    VendorStatus.DOWNLOAD_ERROR: "image download failed",
    VendorStatus.UNAUTHORIZED: "access is denied",
    VendorStatus.KEY_EXPIRED: "the API ID has expired",
    VendorStatus.NO_PERMISSION: "not authorized to use this API",
    VendorStatus.OUT_OF_QUOTA: "API calls quota exceeded",
    VendorStatus.RATE_LIMIT_EXCEEDED: "API request frequency exceeds the limit",
    VendorStatus.NOT_FOUND: "requested API cannot be found",
    VendorStatus.INTERNAL_ERROR: "internal server error",
}

NO_RESULT = "no result"
"""The `reason` in the page's only sample of a failure."""


class Refused(Exception):
    """A call that the vendor refuses: `status` and the text for the answer's `reason`."""

    def __init__(self, status: VendorStatus, reason: str | None = None) -> None:
        self.status = status
        self.reason = reason or DESCRIPTIONS[status]
        super().__init__(self.reason)


@dataclass(frozen=True, slots=True)
class Found:
    """One element of an answer's `result`. `create_time` in whole seconds since 1970."""

    person_id: int
    face_id: int
    score: float
    create_time: int


def request_id() -> str:
    """A new request id of the page's form: `TID` and 32 hexadecimal digits."""
    return "TID" + secrets.token_hex(16)


def ok_body(found: Sequence[Found]) -> bytes:
    """The body of an OK answer."""
    return orjson.dumps({"status": "OK", "request_id": request_id(), "result": found})


def failure_body(status: VendorStatus, reason: str) -> bytes:
    """The body of any other answer."""
    return orjson.dumps({"status": status, "reason": reason, "request_id": request_id()})
