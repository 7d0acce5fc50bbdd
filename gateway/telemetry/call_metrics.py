"""What an ended call adds to the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from gateway.telemetry import catalogue
from gateway.telemetry.instruments import OTHER, Closed, Collected, Counter, Histogram
from gateway.telemetry.record import CallRecord

# The limit that a refusal names by itself; of the others the record says which window it was.
_REFUSING_LIMITS = {
    "TENANT_RATE_LIMITED": "rate",
    "TENANT_CONCURRENCY_EXCEEDED": "concurrency",
    "TENANT_QUOTA_EXCEEDED": "",
}
# A single one of these needs somebody to act.
_ALARMING_REASONS = ("GATEWAY_ERROR", "FACE_SET_UNUSABLE")


class CallMetrics:
    """The series that calls feed. `methods` are the RPCs' paths, `tenants` the configured ids."""

    def __init__(self, methods: Iterable[str], tenants: Iterable[str]) -> None:
        # Conventions want the method without the leading slash.
        self._methods = Closed(())
        self._methods.update({path: path.removeprefix("/") for path in methods})
        self._tenants = Closed(())
        self._codes = Closed(catalogue.CODES)
        self._reasons = Closed(catalogue.REASONS)
        self._cache = Closed(catalogue.CACHE)
        self._limits = Closed(catalogue.LIMITS)
        self._statuses = Closed(catalogue.UPSTREAM_STATUSES)
        self.duration = Histogram(catalogue.RPC_DURATION)
        self.steps = Histogram(catalogue.STEP_DURATION)
        self.tenant_calls = Counter(catalogue.TENANT_CALLS)
        self.decisions = Counter(catalogue.QUOTA_DECISIONS)
        self.degraded = Counter(catalogue.DEGRADED_CALLS)
        self.coalesced = Counter(catalogue.COALESCED)
        self.bulk_items = Counter(catalogue.BULK_ITEMS)
        self.upstream = Histogram(catalogue.UPSTREAM_DURATION)
        self.attempts = Counter(catalogue.UPSTREAM_ATTEMPTS)
        self.queue_wait = Histogram(catalogue.QUEUE_WAIT)
        self.stores = Histogram(catalogue.STORE_DURATION)
        # What an alert counts has to begin at 0.
        self.tenant_calls.add(("none", "GATEWAY_ERROR"), 0)
        self._begin(OTHER)
        for store in catalogue.STORES:
            self.stores.begin((store,))
        for status in catalogue.ALARMING_STATUSES:
            self.upstream.begin((status,))
        self._room = catalogue.MAX_TENANTS
        self.know_tenants(tenants)
        self._step_labels = {step: (step,) for step in catalogue.STEPS[:-1]}

    def know_tenants(self, tenants: Iterable[str]) -> None:
        """Gives further tenants series of their own, after a change of the configuration, up to the maximum."""
        new = (tenant for tenant in tenants if tenant not in self._tenants)
        for tenant in list(islice(new, self._room)):
            self._tenants[tenant] = tenant
            self._room -= 1
            self._begin(tenant)

    def _begin(self, tenant: str) -> None:
        for reason in _ALARMING_REASONS:
            self.tenant_calls.add((tenant, reason), 0)
            self.bulk_items.add((tenant, reason), 0)

    def ended(self, record: CallRecord) -> None:
        """Counts a call that has ended."""
        steps = record.steps
        self.duration.record(
            (
                self._methods[record.method],
                self._codes[record.code or "OK"],
                self._cache[record.cache_status or "none"],
            ),
            steps.get("total", 0.0),
        )
        self._searched(record, self.tenant_calls)

    def item_ended(self, record: CallRecord) -> None:
        """Counts an item of a bulk stream; the stream itself is a call."""
        self._searched(record, self.bulk_items)

    def upstream_ended(self, status: str, seconds: float, requests: int = 1) -> None:
        """Counts one attempt to ask the vendor. `requests` is how many requests left: 0 if none did."""
        self.upstream.record((self._statuses[status],), seconds)
        self.attempts.add((), requests)

    def queued(self, seconds: float) -> None:
        """Counts one wait for the pace or for a connection."""
        self.queue_wait.record((), seconds)

    def store_asked(self, store: str) -> Callable[[float], None]:
        """What counts the seconds of each question to a store: `quota` or `cache`."""
        labels = (store,)
        return lambda seconds: self.stores.record(labels, seconds)

    def _searched(self, record: CallRecord, calls: Counter) -> None:
        tenant = self._tenants[record.tenant] if record.tenant else "none"
        reason = record.reason
        calls.add((tenant, self._reasons[reason or "OK"]))
        for step, seconds in record.steps.items():
            labels = self._step_labels.get(step)
            if labels is not None:
                self.steps.record(labels, seconds)
        limit = _REFUSING_LIMITS.get(reason)
        if limit is not None:
            self.decisions.add((tenant, self._limits[record.quota_limit or limit]))
        elif reason == "QUOTA_UNAVAILABLE":
            self.decisions.add((tenant, "unavailable"))
        elif "quota" in record.steps:
            self.decisions.add((tenant, "admitted"))
        if record.degraded:
            self.degraded.add(())
        if record.cache_status == "coalesced":
            self.coalesced.add(())

    def collect(self) -> list[Collected]:
        """All of it now."""
        return [
            instrument.collect()
            for instrument in (
                self.duration,
                self.steps,
                self.tenant_calls,
                self.decisions,
                self.degraded,
                self.coalesced,
                self.bulk_items,
                self.upstream,
                self.attempts,
                self.queue_wait,
                self.stores,
            )
        ]
