"""The record of one call: what its log line, span, metrics and trailers are made from.

Every step of a call writes what it learned here, and only here; telemetry reads it when the call ends. Its fields are
the whole of what telemetry may know, so nothing biometric has a place in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.telemetry.refusal_kinds import RefusalKind


@dataclass(slots=True)
class CallRecord:
    """What happened to one call.

    `started` is monotonic, `ended_at` in seconds since 1970; `steps` maps a step (`auth`, `quota`, `cache`, `upstream`)
    to its duration in seconds, and `spans` lists each entry into one as (step, monotonic end, seconds). `principal` says
    how the caller proved itself. `tenant` is set once the caller is authenticated and empty before. `refusal` is what the
    call was refused for, where `reason` does not say it; see `refusals.kind_of`. `quota_limit` is the id of the limit that
    refused the call. `flagged` means sampled because of what the caller's `traceparent` said. Of `trace_id`, `span_id` and
    `parent_span_id` 0 means unknown.
    """

    method: str
    request_id: str
    started: float
    tenant: str = ""
    principal: str = ""
    face_set: str = ""
    code: str = ""
    reason: str = ""
    refusal: RefusalKind | None = None
    image_format: str = ""
    image_bytes: int = 0
    cache_status: str = ""
    upstream_status: str = ""
    upstream_attempts: int = 0
    match_count: int | None = None
    quota_remaining: int | None = None
    quota_limit: str = ""
    degraded: bool = False
    steps: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    trace_id: int = 0
    span_id: int = 0
    parent_span_id: int = 0
    sampled: bool = False
    flagged: bool = False
    ended_at: float = 0.0

    def spent(self, step: str, started: float, ended: float) -> None:
        """Adds the time between two monotonic moments to a step, which a call may enter more than once."""
        seconds = ended - started
        self.steps[step] = self.steps.get(step, 0.0) + seconds
        self.spans.append((step, ended, seconds))

    def finish(self, now: float) -> None:
        """Sets the duration of the whole call; `now` is monotonic."""
        self.steps["total"] = now - self.started

    def item(self, request_id: str, now: float) -> CallRecord:
        """The record of one item of this call's stream, with a span of its own below this call's."""
        return CallRecord(
            self.method,
            request_id,
            now,
            tenant=self.tenant,
            principal=self.principal,
            trace_id=self.trace_id,
            parent_span_id=self.span_id,
            sampled=self.sampled,
            flagged=self.flagged,
        )
