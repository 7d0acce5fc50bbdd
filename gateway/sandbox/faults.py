"""What the sandbox is told to do wrong.

    curl -d '{"kind": "status", "status": "OUT_OF_QUOTA", "calls": 3}' http://HOST:PORT/__sandbox/faults
    curl http://HOST:PORT/__sandbox/faults                  those in force
    curl -X DELETE http://HOST:PORT/__sandbox/faults        clears all; .../faults/ID clears one

Every fault may have `calls` (how many calls it strikes; absent: until cleared), `api_id` and `face_set` (strike only
calls with these) and `latency_seconds` (waits first). The oldest one that fits strikes, before credentials are checked.
A list of faults is taken whole or not at all. The classes below are the kinds; their fields are the keys.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.sandbox.verdicts import VendorStatus

MAX_SECONDS = 3600.0
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS, allow_inf_nan=False)]
HttpCode = Annotated[int, Field(ge=200, le=599)]
HeaderText = Annotated[str, Field(max_length=2048, pattern=r"^[\x20-\x7e]*$")]
HeaderName = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9-]+$")]


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    calls: int | None = Field(default=None, ge=1)
    api_id: str | None = None
    face_set: str | None = None
    latency_seconds: Seconds = 0.0


class StatusFault(_Fault):
    """A vendor status in the vendor's form, with its HTTP code or another one; `retry_after` as a header."""

    kind: Literal["status"]
    status: Annotated[VendorStatus, Field(strict=False)]
    reason: str | None = None
    http_code: HttpCode | None = None
    retry_after: int | HeaderText | None = None


class HttpFault(_Fault):
    """Any HTTP answer, as a proxy before the vendor may give it."""

    kind: Literal["http"]
    http_code: HttpCode
    body: str = ""
    content_type: HeaderText = "text/plain"
    headers: dict[HeaderName, HeaderText] = {}
    retry_after: int | HeaderText | None = None


class LatencyFault(_Fault):
    """The right answer, `latency_seconds` late."""

    kind: Literal["latency"]
    latency_seconds: Seconds


class HangFault(_Fault):
    """No answer, until the fault is cleared or the caller goes; then the connection is closed."""

    kind: Literal["hang"]


class DripFault(_Fault):
    """The right answer, a byte every `interval_seconds`."""

    kind: Literal["drip"]
    interval_seconds: Seconds = 0.5


class ResetFault(_Fault):
    """A connection that breaks before the answer or half-way through it; `graceful` closes it instead."""

    kind: Literal["reset"]
    when: Literal["before_headers", "after_headers"] = "before_headers"
    graceful: bool = False


class GarbageFault(_Fault):
    """Bytes that are not JSON in an OK answer, or (`level: protocol`) that are not HTTP."""

    kind: Literal["garbage"]
    level: Literal["body", "protocol"] = "body"


class OversizeFault(_Fault):
    """An OK answer of `size_bytes`, valid JSON all the same."""

    kind: Literal["oversize"]
    size_bytes: int = Field(default=1024 * 1024, ge=256, le=256 * 1024 * 1024)


class GzipBombFault(_Fault):
    """An OK answer that unpacks to `size_bytes` from a thousandth of that."""

    kind: Literal["gzip_bomb"]
    size_bytes: int = Field(default=64 * 1024 * 1024, ge=256, le=1024 * 1024 * 1024)


class RedirectFault(_Fault):
    """A redirect; by default to the endpoint itself, where a client that follows would get its answer."""

    kind: Literal["redirect"]
    http_code: Literal[301, 302, 303, 307, 308] = 307
    location: HeaderText = "/faceset/v2/search_face"


Fault = Annotated[
    StatusFault
    | HttpFault
    | LatencyFault
    | HangFault
    | DripFault
    | ResetFault
    | GarbageFault
    | OversizeFault
    | GzipBombFault
    | RedirectFault,
    Field(discriminator="kind"),
]
