"""The audit stream: who did what to whose data, and what was decided. Never what was found.

An event is a log line with `"stream": "audit"`, so a log shipper can send it where it is kept longer. Events of
authenticated callers and of operators have a queue of their own, which is written before all others.

Callers choose their request ids. A caller without valid credentials must not choose what an audit event says, so the
`request_id` of its events is the gateway's own: the `trace_id` of the call's `rpc.ended` line.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.telemetry.lines import Queue
from gateway.telemetry.logging import tell
from gateway.telemetry.record import CallRecord
from gateway.telemetry.refusal_kinds import RefusalKind

SEARCHES = frozenset(
    {
        "/facegate.search.v1.FaceSearchService/SearchFace",
        "/facegate.search.v1.FaceSearchService/BulkSearchFaces",
    }
)
"""The RPCs that look into a face set, by their whole path: any other path that ends alike is a stranger's invention."""


def call_ended(record: CallRecord, kind: RefusalKind | None, now: datetime) -> None:
    """A search by an authenticated caller, or a refusal of any call. `kind` is what it was refused for."""
    known = bool(record.tenant)
    if kind is None and not (known and record.method in SEARCHES):
        return
    event: dict[str, Any] = {
        "time": now,
        "level": "info",
        "event": "audit.search" if kind is None else "audit.refused",
        "stream": "audit",
        "request_id": record.request_id if known else f"{record.trace_id:032x}",
        "tenant": record.tenant,
        "principal": record.principal,
        "method": record.method,
        "face_set": record.face_set,
        "decision": "allowed" if kind is None else "refused",
        "code": record.code or "OK",
        "reason": record.reason,
        "matches": record.match_count,
    }
    if kind is not None:
        event["kind"] = kind
    tell(event, Queue.AUDIT if known else Queue.STRANGERS)


def refusals_summed(kind: RefusalKind, tenant: str, *, counted: int, left_out: int) -> None:
    """`counted` refusals of a kind, of which `left_out` have no event of their own. No tenant: not authenticated."""
    _tell("audit.refusals", decision="refused", kind=kind, tenant=tenant, refusals=counted, left_out=left_out)


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
        """Reports it, unless it is what was reported before: files that are refused are tried again every two seconds."""
        if problem is None or self._problems.get(name) != problem:
            _tell("audit.files", files=name, decision="refused" if problem else "allowed")
        self._problems[name] = problem


def started(config_version: str, version: str) -> None:
    """The configuration that a process starts with."""
    _tell("audit.start", config_version=config_version, version=version)


def _tell(event: str, **about: Any) -> None:
    tell({"time": datetime.now(UTC), "level": "info", "event": event, "stream": "audit", **about}, Queue.AUDIT)
