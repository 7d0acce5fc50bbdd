"""The audit stream: who did what to whose data, and what was decided. Never what was found.

An event is a log line with `"stream": "audit"`, so a log shipper can send it where it is kept longer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.telemetry.logging import tell
from gateway.telemetry.record import CallRecord

# The RPCs that look into a face set.
_SEARCHES = ("SearchFace", "BulkSearchFaces")
# Refusals: decided here, by who the caller is or what it may have.
_REFUSALS = frozenset(
    {
        "CREDENTIALS_INVALID",
        "TENANT_NOT_ALLOWED",
        "FACE_SET_NOT_ALLOWED",
        "OPERATION_NOT_ALLOWED",
        "TENANT_RATE_LIMITED",
        "TENANT_CONCURRENCY_EXCEEDED",
        "TENANT_QUOTA_EXCEEDED",
    }
)


def call_ended(record: CallRecord, now: datetime) -> None:
    """A search, or a refusal of any call."""
    refused = record.reason in _REFUSALS
    if not refused and not record.method.endswith(_SEARCHES):
        return
    tell(
        {
            "time": now,
            "level": "info",
            "event": "audit.search" if not refused else "audit.refusal",
            "stream": "audit",
            "request_id": record.request_id,
            "tenant": record.tenant,
            "principal": record.principal,
            "method": record.method,
            "face_set": record.face_set,
            "decision": "refused" if refused else "allowed",
            "code": record.code or "OK",
            "reason": record.reason,
            "matches": record.match_count,
        },
    )


def purged(record: CallRecord, scope: str, epoch: int, *, of_tenant: str = "", face_set: str = "") -> None:
    """An operator purged the cache by the call of `record`. `scope` is `all`, `tenant` or `face_set`."""
    _tell(
        "audit.purge",
        request_id=record.request_id,
        tenant=record.tenant,
        scope=scope,
        of_tenant=of_tenant,
        face_set=face_set,
        epoch=epoch,
    )


class FilesAudit:
    """A group of watched files (configuration, certificate, credential, keys) was put in force, or could not be."""

    def __init__(self) -> None:
        self._problems: dict[str, str | None] = {}

    def loaded(self, name: str, problem: str | None) -> None:
        """Tells of it, unless it is what was told before: files that are refused are tried again every two seconds."""
        if problem is None or self._problems.get(name) != problem:
            _tell("audit.files", files=name, decision="refused" if problem else "allowed")
        self._problems[name] = problem


def started(config_version: str, version: str) -> None:
    """The configuration that a process starts with."""
    _tell("audit.start", config_version=config_version, version=version)


def _tell(event: str, **about: Any) -> None:
    tell({"time": datetime.now(UTC), "level": "info", "event": event, "stream": "audit", **about})
