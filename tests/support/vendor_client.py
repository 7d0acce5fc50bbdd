"""The gateway's client of the vendor, as tests open it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from gateway.model import Image, ImageFormat, SearchParameters, UpstreamQuery
from gateway.secret import Secret
from gateway.trip import Trip
from gateway.upstream.attempt import Attempt
from gateway.upstream.client import UpstreamClient, open_upstream
from gateway.upstream.connection import Connection
from gateway.upstream.credentials import Credential, CredentialSource
from gateway.upstream.timed import Timed
from gateway.upstream.transport import OwnTransport
from tests.support.clock import ManualClock

API_ID = "canary-api-id-4711"
API_SECRET = "canary-api-secret-0815"
# 2023-11-14 22:13:20 UTC: 6,400 s before midnight.
NOW = 1_700_000_000.0


def credentials() -> CredentialSource:
    """A source of the canary pair."""
    pair = Credential("primary", Secret(API_ID), Secret(API_SECRET))
    return CredentialSource(pair, lambda: pair)


def query(
    content: bytes = b"\xff\xd8image",
    *,
    face_set: str = "employees-prod",
    threshold: float = 0.8,
    max_results: int = 3,
    image_format: ImageFormat = ImageFormat.JPEG,
) -> UpstreamQuery:
    """A search as the vendor is asked."""
    return UpstreamQuery(
        face_set, Image(content, image_format, 640, 480), SearchParameters(threshold, max_results, 1_690_000_000)
    )


def trip(tenant: str = "kyc", deadline: float = float("inf")) -> Trip:
    """A trip for which one caller waits."""
    made = Trip(tenant, 0.0)
    made.join(deadline)
    return made


def client(base_url: str, **overrides: Any) -> AbstractAsyncContextManager[UpstreamClient]:
    """The client toward `base_url`. Its time-out is one that no healthy search meets, however busy the machine."""
    settings: dict[str, Any] = {
        "base_url": base_url,
        "credentials": credentials(),
        "clock": ManualClock(NOW),
        "timeout_seconds": 30.0,
        "max_connections": 8,
    }
    return open_upstream(**(settings | overrides))


def kept(upstream: UpstreamClient) -> list[Connection]:
    """The connections that wait for a next search."""
    attempt = upstream._attempt
    assert isinstance(attempt, Timed)
    inner = attempt._attempt
    assert isinstance(inner, Attempt)
    transport = inner._transport
    assert isinstance(transport, OwnTransport)
    return transport._pool._kept
