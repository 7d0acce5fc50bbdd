"""THE allow-list: which keys may leave in a log line, and in what shape their values do.

Every line passes here, whoever wrote it. A key that is not listed is dropped and counted; a value is cut, and escaped to
one line of ASCII. So whatever a caller or the vendor sends, and whatever a later change logs by mistake, the worst that
can happen is a line that says less.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

MAX_TEXT = 256
MAX_ITEMS = 16

KEYS: Mapping[str, str] = {
    "time": "when it was written, UTC",
    "level": "`info`, `warning` or `error`",
    "event": "a constant dotted name",
    "stream": "`audit` for audit events; absent otherwise",
    "logger": "of a library's own message: the name of its logger",
    # A call.
    "method": "the RPC's full path, `other` for all that the gateway does not serve",
    "request_id": "the call's id, the caller's or a new one; in audit events of unauthenticated calls the `trace_id`",
    "trace_id": "W3C trace id, 32 hex digits",
    "sampled": "present and true if the call's spans are exported",
    "tenant": "the tenant's id",
    "principal": "how the caller proved itself: `token`, `jwt`, `mtls` or `anonymous`",
    "face_set": "the caller's alias, once it was found in the tenant's list",
    "code": "the gRPC status",
    "reason": "the published error reason",
    "kind": "what was refused, one of the kinds below",
    "image_format": "`jpeg` or `png`",
    "image_size": "a power of two that the image's size is below, in KiB",
    "cache": "`hit`, `miss`, `coalesced` or `bypass`",
    "upstream_status": "the vendor's published status, or a name for a transport fault",
    "upstream_attempts": "requests to the vendor",
    "matches": "how many matches were found",
    "limit": "id of the limit that refused the call",
    "degraded": "true if the quota store was out",
    "auth_ms": "milliseconds in authentication",
    "quota_ms": "milliseconds in quota",
    "cache_ms": "milliseconds in the cache",
    "upstream_ms": "milliseconds that the caller waited for the vendor",
    "total_ms": "milliseconds in all",
    # A fault.
    "exception": "the class of an exception, never its text",
    "frames": "where it was raised: function and line, without values",
    "error": "the class of an error",
    "cause": "a name for a kind of fault",
    "fault": "a name for what is wrong with a stored value",
    "problem": "what is wrong with a file or a key set, a constant or a path",
    "why": "the class of an error",
    # Other events.
    "decision": "`allowed` or `refused`",
    "of_tenant": "the tenant whose answers were purged",
    "scope": "what a purge covers: `all`, `tenant` or `face_set`",
    "epoch": "the cache epoch now in force",
    "files": "the name of a group of watched files",
    "credential": "the alias of a pair of vendor credentials",
    "issuer": "a configured token issuer",
    "keys": "how many keys an issuer has",
    "charges": "a number of charges",
    "sections": "sections of the configuration",
    "tenants": "a number of tenants",
    "config_version": "a digest of the configuration in force",
    "out_seconds": "how long a store was out",
    "outage_seconds": "how long a store was out",
    "jump_seconds": "how far a clock jumped: ahead (positive) or back",
    "written_back": "charges that were written to the store after an outage",
    "total": "a running count",
    "connections": "how many connections were closed",
    "seconds": "by how much a clock jumped",
    "left_out": "like events that were left out since the last, or refusals without a line of their own",
    "refusals": "how many refusals an event sums, those with lines of their own included",
    "variables": "names of environment variables",
    "signal": "the name of a signal",
    "address": "an address that the gateway listens on",
    "path": "a file's path",
    "version": "the gateway's version",
}

NAMES = frozenset(KEYS)
_EVENT = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
_MAX_EVENTS = 1000
_SCALARS = (bool, int, float, type(None), datetime)


class AllowList:
    """A structlog processor: keeps what may leave. `dropped` counts the keys that may not."""

    def __init__(self) -> None:
        self.dropped = 0
        self._events: set[str] = set()

    def __call__(self, _logger: object, _method: str, event: Any) -> Any:
        """The event with its known keys alone and its values made safe."""
        if not event.keys() <= NAMES:
            for key in event.keys() - NAMES:
                del event[key]
                self.dropped += 1
        for key, value in event.items():
            kind = type(value)
            if kind is str:
                if not (len(value) <= MAX_TEXT and value.isascii() and value.isprintable()):
                    event[key] = plain(value)
            elif kind not in _SCALARS:
                event[key] = _shape(value)
        if event["event"] not in self._events:
            event["event"] = self._constant(event["event"])
        return event

    def _constant(self, name: str) -> str:
        """The event's name, if it looks like a constant: data in its place must not leave either."""
        if len(self._events) >= _MAX_EVENTS or not _EVENT.fullmatch(name):
            self.dropped += 1
            return "log.malformed_event"
        self._events.add(name)
        return name


def plain(text: str) -> str:
    """`text` as printable ASCII on one line, cut to `MAX_TEXT` characters; all else is escaped."""
    text = text[:MAX_TEXT]
    if not (text.isascii() and text.isprintable()):
        text = text.encode("unicode_escape", "backslashreplace").decode("ascii")[:MAX_TEXT]
    return text


def _shape(value: object) -> object:
    if isinstance(value, str):
        return plain(str(value))
    if isinstance(value, list | tuple):
        return [plain(item) if isinstance(item, str) else type(item).__name__ for item in value[:MAX_ITEMS]]
    # Anything else could print what it holds: its class says enough to find the line that logs it.
    return type(value).__name__
