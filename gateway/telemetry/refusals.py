"""Counts every refusal, and decides which of them have lines of their own.

Refusals come in floods, and a flood of lines would push out the lines of honest calls. So of each kind only the first few
per second have lines, counted apart for each tenant and for all callers without one together. The others are summed: one
audit event per kind, tenant and period says how many there were. None is dropped without being counted.
"""

from __future__ import annotations

from gateway.clock import Clock
from gateway.telemetry import audit, catalogue_telemetry
from gateway.telemetry.instruments import Counter
from gateway.telemetry.per_second import PerSecond
from gateway.telemetry.record import CallRecord
from gateway.telemetry.refusal_kinds import BY_REASON, RefusalKind

STRANGER_LINES = 5
"""Refused calls per second and kind that have lines, of all callers that are not authenticated."""
TENANT_LINES = 20
"""The same for each tenant."""
SUMMARY_SECONDS = 10.0
"""How often the others are summed in one event."""

# Ways in which a call can end before the gateway knows who called.
_GONE = frozenset({"CANCELLED", "DEADLINE_EXCEEDED"})


def kind_of(record: CallRecord) -> RefusalKind | None:
    """What a call that has ended was refused for; None if it was not refused."""
    if record.refusal is not None:
        return record.refusal
    reason = record.reason
    if not reason:
        return None
    kind = BY_REASON.get(reason)
    if reason == "IMAGE_REJECTED" and not record.upstream_status:
        # The gateway's own verdict; with a status it is the vendor's, on a search that was made.
        return RefusalKind.INVALID_REQUEST
    if kind is None and not record.tenant:
        return RefusalKind.GONE_BEFORE_BODY if record.code in _GONE else RefusalKind.FAULT
    return kind


class _Group:
    """Refusals of one kind and tenant in the current period. `counted` are all of them, `left_out` those without lines."""

    __slots__ = ("counted", "left_out", "lines")

    def __init__(self, tenant: str) -> None:
        self.lines = PerSecond(TENANT_LINES if tenant else STRANGER_LINES)
        self.counted = self.left_out = 0


class Refusals:
    """Call it on the event loop.

    A refused call that ends through `Calls.ended` is counted there. Everything else that is refused (a limit of the health
    service, a reset before the body) is counted by `count`. Count nothing twice.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._groups: dict[str, dict[RefusalKind, _Group]] = {}
        self._summed_at = clock.monotonic()
        self._labels = {kind: (kind.value,) for kind in RefusalKind}
        self.counter = Counter(catalogue_telemetry.REFUSALS)
        for labels in self._labels.values():
            self.counter.add(labels, 0)

    def count(self, kind: RefusalKind, tenant: str = "") -> None:
        """Counts a refusal that has no line of its own. `tenant` is the authenticated tenant's id, if there is one."""
        self.counter.add(self._labels[kind])
        group = self._group(kind, tenant)
        group.counted += 1
        group.left_out += 1

    def ended(self, kind: RefusalKind, tenant: str) -> bool:
        """Counts a refused call. Returns whether it has lines of its own."""
        self.counter.add(self._labels[kind])
        group = self._group(kind, tenant)
        group.counted += 1
        if group.lines.take(self._clock.monotonic()):
            return True
        group.left_out += 1
        return False

    def _group(self, kind: RefusalKind, tenant: str) -> _Group:
        kinds = self._groups.get(tenant)
        if kinds is None:
            kinds = self._groups[tenant] = {}
        group = kinds.get(kind)
        if group is None:
            group = kinds[kind] = _Group(tenant)
        return group

    def tick(self) -> None:
        """Call it about once a second: sums what was left out, at the end of each period."""
        if self._clock.monotonic() - self._summed_at >= SUMMARY_SECONDS:
            self.sum()

    def sum(self) -> None:
        """Ends the period now."""
        self._summed_at = self._clock.monotonic()
        groups, self._groups = self._groups, {}
        for tenant, kinds in groups.items():
            for kind, group in kinds.items():
                if group.left_out:
                    audit.refusals_summed(kind, tenant, counted=group.counted, left_out=group.left_out)
