"""What a call's CacheControl means, decided once: the steps of `search.py` ask this and decide nothing themselves."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import CacheControl, CacheMode


@dataclass(frozen=True, slots=True)
class CachePlan:
    """What one call does with the cache.

    `reads`: looks for an answer first. `searches`: goes upstream without one. `joins`: may share a search that is
    already in flight. `writes`: stores what its search brings, and lets later calls share it.
    """

    reads: bool
    searches: bool
    joins: bool
    writes: bool


_READ_WRITE = CachePlan(reads=True, searches=True, joins=True, writes=True)
_REFRESH = CachePlan(reads=False, searches=True, joins=False, writes=True)
_BYPASS = CachePlan(reads=False, searches=True, joins=False, writes=False)
_ONLY_IF_CACHED = CachePlan(reads=True, searches=False, joins=False, writes=False)
_NEVER_OLD_ENOUGH = CachePlan(reads=False, searches=False, joins=False, writes=False)


def plan(control: CacheControl) -> CachePlan:
    """The plan for a call. A maximum age of 0 asks for a new search, so nothing held or begun before will do."""
    new_only = control.max_age_seconds == 0
    match control.mode:
        case CacheMode.READ_WRITE:
            return _REFRESH if new_only else _READ_WRITE
        case CacheMode.REFRESH:
            return _REFRESH
        case CacheMode.BYPASS:
            return _BYPASS
        case CacheMode.ONLY_IF_CACHED:
            return _NEVER_OLD_ENOUGH if new_only else _ONLY_IF_CACHED
