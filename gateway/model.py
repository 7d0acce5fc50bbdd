"""What the gateway talks about: tenants, searches and their answers, as values that never change.

Every layer may import this module; it imports none of them, and knows no grpc, HTTP or store. Biometric fields are kept
out of every `repr`, so that no accident of formatting can print them. What every search makes anew is a named tuple: a
frozen dataclass of as many fields takes four times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import NamedTuple


class Word(StrEnum):
    """A string of a fixed set that hashes as the string that it equals.

    `Enum` hashes by the member's name and in Python code, which is felt at every dictionary on a call's way.
    """

    __hash__ = str.__hash__


class Role(Word):
    """What a tenant's principals may do."""

    CALLER = "caller"
    OPERATOR = "operator"


class Window(Word):
    """A calendar window in UTC, over which upstream calls are counted."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Calls to the gateway: `per_second` sustained, `burst` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Limits:
    """A tenant's limits; what is None or missing is unlimited."""

    rate: RateLimit | None = None
    concurrency: int | None = None
    upstream_calls: Mapping[Window, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the gateway. `face_sets` maps the caller's alias to the upstream's name."""

    id: str
    role: Role = Role.CALLER
    face_sets: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller. `method` says how it proved itself: `token`, `jwt`, `mtls` or `anonymous`.

    `expires_at`, in seconds since 1970, is when the proof ends: a JWT's `exp` with its leeway, or a certificate's end.
    """

    tenant: Tenant
    method: str
    expires_at: float = inf


class ImageFormat(Word):
    """The formats that the vendor takes."""

    JPEG = "jpeg"
    PNG = "png"


class Image(NamedTuple):
    """A photo whose header was checked; `width` and `height` in pixels."""

    content: bytes
    format: ImageFormat
    width: int
    height: int

    def __repr__(self) -> str:
        return f"Image({self.format}, {self.width} x {self.height})"


class SearchParameters(NamedTuple):
    """How strictly to search, defaults filled in.

    `threshold` in [0, 1]; `max_results` 1 to 10; `start_time` in whole seconds since 1970.
    """

    threshold: float
    max_results: int
    start_time: int


class CacheMode(Word):
    """What a call may do with the result cache."""

    READ_WRITE = "read_write"
    REFRESH = "refresh"
    BYPASS = "bypass"
    ONLY_IF_CACHED = "only_if_cached"


@dataclass(frozen=True, slots=True)
class CacheControl:
    """A caller's wishes for the cache. `max_age_seconds` None means the server's limit; 0 means a new search."""

    mode: CacheMode = CacheMode.READ_WRITE
    max_age_seconds: float | None = None


class Search(NamedTuple):
    """One search as a caller asked for it. `face_set` is the caller's alias."""

    face_set: str
    image: Image
    parameters: SearchParameters
    cache_control: CacheControl = CacheControl()


@dataclass(frozen=True, slots=True)
class UpstreamQuery:
    """One search as the vendor is asked. `face_set` is the upstream's name."""

    face_set: str = field(repr=False)
    image: Image
    parameters: SearchParameters


UNKNOWN_TIME = -1
"""The `create_time` of a face of which the vendor does not say when it was enrolled."""


class Match(NamedTuple):
    """A similar face. `score` in [threshold, 1]; `create_time` in whole seconds since 1970, or `UNKNOWN_TIME`."""

    person_id: int
    face_id: int
    score: float
    create_time: int

    def __repr__(self) -> str:
        return "Match(…)"


class Outcome(Word):
    """What a search found."""

    MATCHED = "matched"
    NO_MATCH = "no_match"
    NO_RESULT_REPORTED = "no_result_reported"


class UpstreamAnswer(NamedTuple):
    """The vendor's answer: matches, most similar first, and its id of the search (empty if it gave none)."""

    matches: tuple[Match, ...]
    outcome: Outcome
    request_id: str
    attempts: int = 1

    def __repr__(self) -> str:
        return f"UpstreamAnswer({self.outcome}, {self.request_id!r})"

    @property
    def upstream_status(self) -> str:
        """The vendor's published status of it, for logs and metrics."""
        return "QUERY_FAILED" if self.outcome is Outcome.NO_RESULT_REPORTED else "OK"


class CacheStatus(Word):
    """How the cache took part in an answer."""

    HIT = "hit"
    MISS = "miss"
    COALESCED = "coalesced"
    BYPASS = "bypass"


class SearchAnswer(NamedTuple):
    """The answer to a caller's search.

    `age_seconds` is 0 for a new search; `expire_time` (seconds since 1970) is None if the answer is not cached.
    `upstream_calls` is what the call was charged; `degraded` says that the quota store was out.
    """

    answer: UpstreamAnswer
    parameters: SearchParameters
    cache_status: CacheStatus
    age_seconds: float = 0.0
    expire_time: float | None = None
    upstream_calls: int = 0
    degraded: bool = False
