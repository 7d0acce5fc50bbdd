"""The record of one call: what its log line, span, metrics and trailers are made from.

Every step of a call writes what it learned here, and only here; the interceptors read it when the call ends. Its fields
are the whole of what telemetry may know, so nothing biometric has a place in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class CallRecord:
    """What happened to one call.

    `started` is monotonic; `steps` maps a step (`auth`, `quota`, `cache`, `upstream`) to its duration in seconds.
    """

    method: str
    request_id: str
    started: float
    tenant: str = ""
    face_set: str = ""
    code: str = ""
    reason: str = ""
    image_format: str = ""
    image_bytes: int = 0
    cache_status: str = ""
    upstream_status: str = ""
    upstream_attempts: int = 0
    match_count: int | None = None
    quota_remaining: int | None = None
    degraded: bool = False
    steps: dict[str, float] = field(default_factory=dict)

    def spent(self, step: str, seconds: float) -> None:
        """Adds `seconds` to a step, which a call may enter more than once."""
        self.steps[step] = self.steps.get(step, 0.0) + seconds

    def finish(self, now: float) -> None:
        """Sets the duration of the whole call; `now` is monotonic."""
        self.steps["total"] = now - self.started
