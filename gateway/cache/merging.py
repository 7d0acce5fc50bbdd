"""Which answers of one image stay together in a record when another one lands: never an older answer over a newer one.

"Newer" means that its question was sent later, whatever the order in which the answers land. Three rules:

1. An answer is dropped when a newer one covers it: the newer one answers every request that the older one answers.
2. An answer is dropped when a newer one contradicts it: the face set changed between the two questions. Everything
   older than the dropped answer is dropped too, since it may be from before the same change.
3. A record holds at most eight answers. The oldest is dropped first.

Rules 2 and 3 leave a *barrier*: the time of the dropped question. An answer to a question from before the barrier is
not kept if it lands later, because the answer that would have contradicted it may be gone. Rule 1 needs no barrier:
the answer that stays knows all that the dropped one knew.

An older answer with a wider question than a newer one stays as long as both can be true of one face set. It then serves
the requests that the newer one cannot answer. The newest answer comes first in a record, so it serves all others.

Joining is the same for every order of the records, so concurrent writers may join in any order. Knows nothing of time
limits, stores or seals.
"""

from __future__ import annotations

import math

from gateway.cache import coverage
from gateway.cache.entries import Entry, Unpackable, pack, unpack
from gateway.model import Outcome, SearchParameters, UpstreamAnswer

MAX_ENTRIES = 8
"""Maximum number of answers per key, barrier not counted."""

_NO_BARRIER = -math.inf
# No request has a threshold that high, so this question serves nothing, also in replicas that know no barriers.
_BARRIER_QUESTION = SearchParameters(math.inf, 1, 0)
_BARRIER_ANSWER = UpstreamAnswer((), Outcome.NO_RESULT_REPORTED, "")


def is_barrier(entry: Entry) -> bool:
    """Whether this is a record's barrier, which is packed as its last entry, and not an answer."""
    return entry.asked.threshold == math.inf


def merge(new: Entry, held: list[Entry]) -> list[Entry]:
    """What a record that holds `held` holds after `new` has landed: newest question first, a barrier last.

    `new` is missing from the result if it is too old to be kept. Of two questions of the same moment, `new` is the newer.
    """
    return _packed_order(*_land(new, *_split(held)))


def join_records(first: bytes, second: bytes) -> bytes:
    """One record out of two of the same key that were written independently. A record that cannot be read counts as empty."""
    answers, barrier = _split(_readable(first))
    others, other_barrier = _split(_readable(second))
    barrier = max(barrier, other_barrier)
    answers = [entry for entry in answers if entry.asked_at >= barrier]
    for entry in reversed(others):
        answers, barrier = _land(entry, answers, barrier)
    return pack(_packed_order(answers, barrier))


def _land(new: Entry, answers: list[Entry], barrier: float) -> tuple[list[Entry], float]:
    if new.asked_at < barrier:
        return answers, barrier
    place, covered = 0, False
    for newer in answers:
        if newer.asked_at <= new.asked_at:
            break
        if _contradict(newer, new):
            return [entry for entry in answers if entry.asked_at > new.asked_at], new.asked_at
        covered = covered or _displaces(newer, new)
        place += 1
    kept = answers[:place] if covered else [*answers[:place], new]
    for older in answers[place:]:
        if _contradict(new, older):
            return kept, older.asked_at
        if covered or not _displaces(new, older):
            kept.append(older)
    if len(kept) > MAX_ENTRIES:
        return kept[:MAX_ENTRIES], max(barrier, kept[MAX_ENTRIES].asked_at)
    return kept, barrier


def _contradict(one: Entry, other: Entry) -> bool:
    return coverage.contradicts(one.asked, one.answer, other.asked, other.answer)


def _displaces(newer: Entry, older: Entry) -> bool:
    return coverage.displaces(newer.asked, newer.answer, older.asked, older.answer)


def _split(held: list[Entry]) -> tuple[list[Entry], float]:
    if held and is_barrier(held[-1]):
        return held[:-1], held[-1].asked_at
    return held, _NO_BARRIER


def _packed_order(answers: list[Entry], barrier: float) -> list[Entry]:
    return answers if barrier == _NO_BARRIER else [*answers, Entry(barrier, _BARRIER_QUESTION, _BARRIER_ANSWER)]


def _readable(record: bytes) -> list[Entry]:
    try:
        return list(unpack(record))
    except Unpackable:
        return []
