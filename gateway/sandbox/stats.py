"""What was asked of the sandbox, in numbers.

    curl http://HOST:PORT/__sandbox/stats              the numbers, as JSON
    curl -X DELETE http://HOST:PORT/__sandbox/stats    all but `in_flight` begin anew (POST does the same)

`calls` · `in_flight` now · `highest_in_flight` at once · `bytes_received` of bodies · `statuses` (vendor statuses that
were answered; the kind of a fault in small letters; `gone` for callers that left before their answer) · `face_sets` and
`api_ids`, each with `calls`, `in_flight` and `highest_in_flight`. Names that the sandbox does not know are counted
together as `unknown`: what callers send cannot make the numbers grow.

A call counts as in flight until its answer is handed to the connection, so a caller never has fewer in flight.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "unknown"


@dataclass(slots=True)
class Traffic:
    """Calls in all, in flight now, and the most that were in flight at once."""

    calls: int = 0
    in_flight: int = 0
    highest_in_flight: int = 0

    def begin(self) -> None:
        """A call came."""
        self.calls += 1
        self.in_flight += 1
        self.highest_in_flight = max(self.highest_in_flight, self.in_flight)

    def as_json(self) -> dict[str, int]:
        """The three numbers."""
        return {"calls": self.calls, "in_flight": self.in_flight, "highest_in_flight": self.highest_in_flight}

    def reset(self) -> None:
        """Begins anew with what is in flight."""
        self.calls, self.highest_in_flight = 0, self.in_flight


@dataclass(slots=True)
class Call:
    """One call while it lasts. `status` is what it ends with."""

    status: str = "gone"
    counted_in: list[Traffic] = field(default_factory=list)


@dataclass(slots=True)
class Stats:
    """The numbers since the start or the last reset."""

    bytes_received: int = 0
    total: Traffic = field(default_factory=Traffic)
    statuses: Counter[str] = field(default_factory=Counter)
    api_ids: defaultdict[str, Traffic] = field(default_factory=lambda: defaultdict(Traffic))
    face_sets: defaultdict[str, Traffic] = field(default_factory=lambda: defaultdict(Traffic))

    def begin(self, api_id: str) -> Call:
        """A call came; `api_id` is a known one or `UNKNOWN`."""
        call = Call()
        for traffic in (self.total, self.api_ids[api_id]):
            traffic.begin()
            call.counted_in.append(traffic)
        return call

    def count_face_set(self, call: Call, name: str) -> None:
        """The call's face set is known now; `name` is a known one or `UNKNOWN`."""
        traffic = self.face_sets[name]
        traffic.begin()
        call.counted_in.append(traffic)

    def end(self, call: Call) -> None:
        """The call's answer is made, or its caller has gone."""
        # As plain text: orjson takes no other keys than that, not even those of a StrEnum.
        self.statuses[str(call.status)] += 1
        for traffic in call.counted_in:
            traffic.in_flight -= 1

    def reset(self) -> None:
        """Begins anew with what is in flight."""
        self.bytes_received = 0
        self.statuses.clear()
        for traffic in (self.total, *self.api_ids.values(), *self.face_sets.values()):
            traffic.reset()

    def as_json(self) -> dict[str, Any]:
        """The numbers as the module's docstring names them."""
        return {
            **self.total.as_json(),
            "bytes_received": self.bytes_received,
            "statuses": dict(self.statuses),
            "face_sets": {name: traffic.as_json() for name, traffic in self.face_sets.items()},
            "api_ids": {name: traffic.as_json() for name, traffic in self.api_ids.items()},
        }
