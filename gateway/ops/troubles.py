"""What is wrong now, in words, and since when: the banner of the status page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.clock import Clock
from gateway.telemetry.history import STEP_SECONDS, Moment

_FAILING_SHARE = 0.2
_OVERLOADED_SHARE = 0.01
VENDOR = "vendor"

_VENDOR_REASONS: Mapping[str, str] = {
    "UPSTREAM_UNAVAILABLE": "The vendor cannot be reached, or says that it is unavailable",
    "UPSTREAM_TIMEOUT": "The vendor does not answer in time",
    "UPSTREAM_ERROR": "The vendor answers with errors",
    "UPSTREAM_BAD_RESPONSE": "The vendor's answers cannot be understood",
    "UPSTREAM_ACCESS_MISCONFIGURED": "The vendor refuses the credentials, or its address is wrong",
    "UPSTREAM_QUOTA_EXHAUSTED": "The account with the vendor is used up",
    "UPSTREAM_RATE_LIMITED": "The vendor throttles the gateway",
}
_STORES: Mapping[str, str] = {
    "quota": "The quota store is out: quota.on_store_failure decides about calls, and the figures below are this replica's share",
    "cache": "The cache store is out: every search goes to the vendor, who bills it",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that is wrong. `level` is `bad` if callers notice, else `warn`.

    It shows up to `late_seconds` after it began.
    """

    level: str
    text: str
    late_seconds: float = 0.0


def causes_of(
    ready: bool,  # noqa: FBT001 - a state, as it is read
    problems: Sequence[str],
    stores: Mapping[str, bool],
    minute: Moment,
) -> dict[str, Cause | None]:
    """Every cause by its name. None: nothing has shown whether it still holds."""
    found: dict[str, Cause | None] = {}
    if not ready:
        found["ready"] = Cause("bad", "Not ready: this replica takes no calls")
    found.update(_vendor(minute))
    overloaded = sum(count for (_, reason), count in minute.ends.items() if reason == "GATEWAY_OVERLOADED")
    if overloaded > minute.calls * _OVERLOADED_SHARE:
        found["overloaded"] = Cause("bad", f"Full: {overloaded} calls were refused in the last minute")
    bugs = sum(count for (_, reason), count in minute.ends.items() if reason == "GATEWAY_ERROR")
    if bugs:
        found["bug"] = Cause("bad", f"A bug: {bugs} calls got GATEWAY_ERROR in the last minute; the log says where")
    for name, up in stores.items():
        if not up:
            found[name] = Cause("warn", _STORES.get(name, f"The {name} store is out"))
    for problem in problems:
        if not any(problem == f"{name} store: out" for name in stores):
            found[problem] = Cause("warn", problem)
    return found


def _vendor(minute: Moment) -> dict[str, Cause | None]:
    failures: dict[str, int] = {}
    for (_, reason), count in minute.ends.items():
        if reason in _VENDOR_REASONS:
            failures[reason] = failures.get(reason, 0) + count
    failed = sum(failures.values())
    answered = int(sum(minute.latency["vendor"])) + max(0, minute.asked - minute.unanswered)
    if not failed:
        return {} if answered else {VENDOR: None}
    if failed <= _FAILING_SHARE * (failed + answered):
        return {}
    worst = max(failures, key=failures.__getitem__)
    statuses = sorted(minute.statuses, key=minute.statuses.__getitem__, reverse=True)[:2]
    because = f" ({', '.join(statuses)})" if statuses else ""
    text = (
        f"{_VENDOR_REASONS[worst]}{because}: {failed} searches failed in the last minute. "
        "Those that the cache can answer are answered."
    )
    return {VENDOR: Cause("bad", text, STEP_SECONDS)}


class Troubles:
    """Remembers since when each cause holds. Look about once a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, Cause]] = {}

    def look(self, causes: Mapping[str, Cause | None]) -> None:
        """Takes note of the causes now. One that is None stays as it was."""
        now = self._clock.now()
        held = {}
        for name, cause in causes.items():
            before = self._held.get(name)
            if cause is not None:
                held[name] = (before[0] if before is not None else now - cause.late_seconds, cause)
            elif before is not None:
                held[name] = before
        self._held = held

    def rows(self) -> list[dict[str, Any]]:
        """Level, text and since when (seconds since 1970), the worst and then the oldest first."""
        held = sorted(self._held.values(), key=lambda one: (one[1].level != "bad", one[0]))
        return [{"level": cause.level, "text": cause.text, "since": since} for since, cause in held]
