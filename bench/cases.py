"""What is measured: the ways in which a call can end, each beside the same call at a bare server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOKEN = "facegate-bench-0000000000000000000000000000"
REFUSED_TOKEN = "facegate-bench-1111111111111111111111111111"


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@dataclass(frozen=True)
class Case:
    """One kind of call. `code` and `cache` are how every call must end.

    `targets` are the throughputs aimed at, of bare, by the stores; what is not listed has none.
    """

    name: str
    what: str
    targets: Mapping[str, float]
    code: str = "OK"
    cache: str | None = None
    distinct: bool = False
    cache_mode: str = "CACHE_MODE_READ_WRITE"
    metadata: tuple[tuple[str, str], ...] = _bearer(TOKEN)
    image_bytes: int | None = None


CASES = (
    Case(
        "hit",
        "the same image again, answered from the cache",
        {"embedded": 0.80, "valkey": 0.55},
        cache="CACHE_STATUS_HIT",
    ),
    Case(
        "miss",
        "searched anew at an instant vendor and kept; a refresh, so that h2load can repeat it",
        {"embedded": 0.50},
        cache="CACHE_STATUS_MISS",
        cache_mode="CACHE_MODE_REFRESH",
    ),
    Case(
        "refused-credentials",
        "a token that belongs to nobody, refused before the body is parsed",
        {"embedded": 1.0, "valkey": 1.0},
        code="UNAUTHENTICATED",
        metadata=_bearer("x" * len(TOKEN)),
    ),
    Case(
        "refused-quota",
        "a tenant whose rate is used up",
        {"embedded": 1.0, "valkey": 1.0},
        code="RESOURCE_EXHAUSTED",
        metadata=_bearer(REFUSED_TOKEN),
    ),
)
MEMORY_CASE = Case("memory", "64 calls of 5 MB at once", {}, distinct=True, image_bytes=5_000_000)
