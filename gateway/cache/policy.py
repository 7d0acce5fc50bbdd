"""How long answers live: the settings of the cache, and the limits that no setting exceeds."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Outcome

MAX_TTL_SECONDS = 3600.0
NO_RESULT_TTL_SECONDS = 10.0
"""Long enough for a burst of retries; "no result" is not a finding that anybody should rely on for longer."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How long answers live, and whether the vendor is asked for more results than a caller wants.

    `flight_seconds` is the longest time between asking the vendor and the answer. An answer that took longer is not
    kept. A kept answer stays in its record for at least this time, served or not, so that no older question that is
    still in flight can take its place.
    """

    ttl_seconds: float = 300.0
    no_match_ttl_seconds: float = 60.0
    widen_max_results: bool = False
    flight_seconds: float = 15.0

    def lifetime_seconds(self, outcome: Outcome) -> float:
        """How long an answer of this outcome may be served."""
        lifetime = min(self.ttl_seconds, MAX_TTL_SECONDS)
        if outcome is Outcome.MATCHED:
            return lifetime
        lifetime = min(lifetime, self.no_match_ttl_seconds)
        return lifetime if outcome is Outcome.NO_MATCH else min(lifetime, NO_RESULT_TTL_SECONDS)
