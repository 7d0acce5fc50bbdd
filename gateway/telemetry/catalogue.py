"""THE catalogue of metrics: name, unit, labels with their closed sets, and what each one tells.

`docs/telemetry.md` is generated from here. `/metrics` and OTLP show the same series; `Metric.exposed` is the name on
`/metrics`. A label never holds what a caller made up.
"""

from __future__ import annotations

from gateway.errors import Reason
from gateway.model import CacheStatus, Window
from gateway.telemetry import catalogue_telemetry
from gateway.telemetry.instruments import OTHER, Kind, Label, Metric

MAX_TENANTS = 200

CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
REASONS = ("OK", *(reason.value for reason in Reason))
CACHE = ("none", *(status.value for status in CacheStatus))
STEPS = ("auth", "quota", "cache", "upstream", "total")
LIMITS = ("rate", "concurrency", *(f"upstream_calls_per_{window.value}" for window in Window))
UPSTREAM_STATUSES = (
    "OK",
    "INVALID_ARGUMENT",
    "QUERY_FAILED",
    "DOWNLOAD_ERROR",
    "UNAUTHORIZED",
    "KEY_EXPIRED",
    "NO_PERMISSION",
    "OUT_OF_QUOTA",
    "RATE_LIMIT_EXCEEDED",
    "NOT_FOUND",
    "INTERNAL_ERROR",
    # Where an HTTP code says all: a proxy's, or one whose body says nothing.
    "http_401",
    "http_403",
    "http_408",
    "http_413",
    "http_429",
    "http_502",
    "http_503",
    "http_504",
    "http_5xx",
    "timeout",
    "connect_timeout",
    "connect_error",
    "connection_lost",
    "tls_error",
    "address_refused",
    "proxy_error",
    "proxy_tls_error",
    "proxy_refused",
    "proxy_login_refused",
    "protocol_error",
    "redirect",
    "unknown_status",
    "not_json",
    "schema_mismatch",
    "unexpected_code",
    "compressed_body",
    "oversize_body",
    "cancelled",
)
# The gateway's access is refused, or it asks somebody who is not the vendor.
ACCESS_STATUSES = (
    "UNAUTHORIZED",
    "KEY_EXPIRED",
    "NO_PERMISSION",
    "NOT_FOUND",
    "http_401",
    "http_403",
    "tls_error",
    "address_refused",
    "proxy_tls_error",
    "proxy_refused",
    "proxy_login_refused",
    "redirect",
)
# A single one of these needs somebody to act.
ALARMING_STATUSES = (*ACCESS_STATUSES, "OUT_OF_QUOTA")
# The vendor works: it answered, or said that the image or the face set is at fault; or nobody waited for it.
HEALTHY_STATUSES = ("OK", "INVALID_ARGUMENT", "QUERY_FAILED", "http_413", "cancelled")
STORES = ("quota", "cache")
CERTIFICATES = ("server", "client_ca")

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0)

_METHOD = Label("rpc.method", f"the RPCs of the gateway's services, else `{OTHER}`")
_CODE = Label("rpc.response.status_code", CODES)
_CACHE = Label("cache", CACHE)
_TENANT = Label(
    "tenant", f"the configured tenants, at most {MAX_TENANTS}, else `{OTHER}`; `none` before authentication"
)
_REASON = Label("reason", REASONS)
_STEP = Label("step", STEPS[:-1])
_STATUS = Label("status", (*UPSTREAM_STATUSES, OTHER))
_STORE = Label("store", STORES)
_FILES = Label("files", "the groups of watched files that the configuration names")
_FILE = Label("file", "the paths of a group's files")

# --- Calls -----------------------------------------------------------------------------------------------------------

RPC_DURATION = Metric(
    "rpc.server.call.duration",
    Kind.HISTOGRAM,
    "s",
    "How long calls took, from their headers to their status. The name and labels are OpenTelemetry's conventions.",
    (_METHOD, _CODE, _CACHE),
    _LATENCY,
)
TENANT_CALLS = Metric(
    "facegate.tenant.calls", Kind.COUNTER, "{call}", "Calls of each tenant by how they ended.", (_TENANT, _REASON)
)
QUOTA_DECISIONS = Metric(
    "facegate.quota.decisions",
    Kind.COUNTER,
    "{decision}",
    "Verdicts on calls: admitted, or refused by which limit. A store that was out and denied is `unavailable`.",
    (_TENANT, Label("decision", ("admitted", "unavailable", *LIMITS, OTHER))),
)
QUOTA_USED = Metric(
    "facegate.quota.used_ratio",
    Kind.GAUGE,
    "1",
    "Used part of a calendar quota, as this replica saw it when the tenant's last search was charged: 1 is all of it. "
    "Quotas of which less than half is used are left out, and of the others all but the 100 that are used most.",
    (
        Label("tenant", "the configured tenants that have used most"),
        Label("limit", tuple(f"upstream_calls_per_{window.value}" for window in Window)),
    ),
)
STEP_DURATION = Metric(
    "facegate.step.duration",
    Kind.HISTOGRAM,
    "s",
    "How long calls spent in each step; `quota` and `cache` include the stores' latency.",
    (_STEP,),
    _SHORT,
)
DEGRADED_CALLS = Metric(
    "facegate.quota.degraded_calls", Kind.COUNTER, "{call}", "Calls admitted without the quota store.", ()
)
COALESCED = Metric(
    "facegate.cache.followers", Kind.COUNTER, "{call}", "Calls that waited for another call's upstream search.", ()
)
BULK_ITEMS = Metric(
    "facegate.bulk.items", Kind.COUNTER, "{item}", "Items of bulk streams by how they ended.", (_TENANT, _REASON)
)

# --- Upstream --------------------------------------------------------------------------------------------------------

UPSTREAM_DURATION = Metric(
    "facegate.upstream.duration",
    Kind.HISTOGRAM,
    "s",
    "How long each request to the vendor took, by the status that it ended with.",
    (_STATUS,),
    _LATENCY,
)
UPSTREAM_ATTEMPTS = Metric("facegate.upstream.attempts", Kind.COUNTER, "{request}", "Requests to the vendor.", ())
UPSTREAM_IN_FLIGHT = Metric("facegate.upstream.in_flight", Kind.GAUGE, "{search}", "Upstream searches in flight.")
UPSTREAM_WAITING = Metric(
    "facegate.upstream.waiting", Kind.GAUGE, "{search}", "Searches that wait for a connection to the vendor."
)
QUEUE_WAIT = Metric(
    "facegate.upstream.queue.duration",
    Kind.HISTOGRAM,
    "s",
    "How long searches waited for a connection, of those that had to.",
    (),
    _SHORT,
)

# --- Cache and stores ------------------------------------------------------------------------------------------------

CACHE_BYTES = Metric("facegate.cache.size", Kind.GAUGE, "By", "Memory that cached answers take.")
CACHE_ENTRIES = Metric("facegate.cache.entries", Kind.GAUGE, "{entry}", "Keys with cached answers.")
CACHE_FAULTS = Metric(
    "facegate.cache.values_refused",
    Kind.COUNTER,
    "{value}",
    "Stored answers that were altered, swapped, replayed or unreadable. Never more than 0 unless somebody meddles.",
)
STORE_UP = Metric("facegate.store.up", Kind.GAUGE, "1", "1 if the store answers, 0 if it is out.", (_STORE,))

STORE_DURATION = Metric(
    "facegate.store.duration",
    Kind.HISTOGRAM,
    "s",
    "How long each question to a shared store took, failed ones included. Stores in memory are not asked.",
    (_STORE,),
    _SHORT,
)

# --- The process -----------------------------------------------------------------------------------------------------

IN_FLIGHT_CALLS = Metric("facegate.calls.in_flight", Kind.GAUGE, "{call}", "Calls in flight.")
IN_FLIGHT_BYTES = Metric("facegate.bodies.in_flight", Kind.GAUGE, "By", "Bytes of the bodies of calls in flight.")
READY = Metric("facegate.ready", Kind.GAUGE, "1", "1 if the gateway takes calls.")
LOOP_LAG = Metric(
    "facegate.event_loop.lag",
    Kind.HISTOGRAM,
    "s",
    "How much later than asked for the event loop woke up, looked at four times a second.",
    (),
    _SHORT,
)
FILES_AGE = Metric(
    "facegate.files.age",
    Kind.GAUGE,
    "s",
    "Time since the files were put in force: configuration, certificate and the like.",
    (_FILES,),
)
FILES_REJECTED = Metric(
    "facegate.files.rejected",
    Kind.GAUGE,
    "1",
    "1 while what is on disk cannot be used and older contents serve.",
    (_FILES, _FILE),
)
CERTIFICATE_EXPIRY = Metric(
    "facegate.certificate.expiry_timestamp",
    Kind.GAUGE,
    "s",
    "When a certificate in force ends, in seconds since 1970: the server's own, and the first of its clients' authorities.",
    (Label("certificate", CERTIFICATES),),
)
CPU_TIME = Metric("process.cpu", Kind.COUNTER, "s", "Processor time of this process.")
MEMORY = Metric("process.resident_memory", Kind.GAUGE, "By", "Resident memory of this process.")
MEMORY_LIMIT = Metric(
    "facegate.memory.limit",
    Kind.GAUGE,
    "By",
    "Memory that this process may use: the container's limit, or the machine's memory if there is no limit.",
)
BUILD = Metric(
    "facegate.build.info",
    Kind.GAUGE,
    "1",
    "Always 1, with the version as its label.",
    (Label("version", "the one that runs"),),
)

CATALOGUE: tuple[Metric, ...] = (
    *(value for value in list(globals().values()) if isinstance(value, Metric)),
    *catalogue_telemetry.METRICS,
)
