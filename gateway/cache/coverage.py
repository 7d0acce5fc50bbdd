"""Which search already made answers which search now asked for: pure functions, with their proof.

Used by the cache for what it holds and by `search.py` for what a shared flight brought back. Knows nothing of stores,
tenants or time.

**What an answer proves.** Let F be the face set; a face f has a score s(f) and was enrolled at c(f). The question
(t, k, a) asks for the k faces with the highest scores of Q(t, a) = {f: s(f) >= t and c(f) >= a}: both bounds are
inclusive. M is the answer to (t0, k0, a0), sorted by score; call it *complete* when it has fewer than k0 faces, for then
M = Q(t0, a0). Ask now (t, k, a) with t >= t0 and a >= a0, so that Q(t, a) is a subset of Q(t0, a0), and let
R = {f in M: s(f) >= t and c(f) >= a}.

1. M is complete. R = Q(t, a), and the first k of R are the answer, whatever k is.
2. M is not complete, and R has at least k faces. A face that M lacks scores at most as high as M's lowest, hence as
   every face of R: the first k of R are a highest-scoring k of Q(t, a). A tie at the k-th place may be broken either
   way by the vendor too; if it breaks ties by any fixed order, M is a prefix in that order and R's first k are exactly
   its answer.
3. M is not complete, and t is above M's lowest score. A face that M lacks scores below t, so R = Q(t, a) as in 1. With
   t equal to the lowest score there may be another face of that very score which M had no room for: not proven.

Nothing else is served. A lower threshold with enough results in M could be proven as well, but is a miss by contract.

**No result reported** is not an answer but a refusal to give one: the image may hold no face, the face set may be empty,
or nothing reached t0. Under each of these readings the same question and any stricter one (t >= t0 and a >= a0) fares
the same, whatever k is; a laxer one may not. So that is how far it is reused, always as what it is, never as `NO_MATCH`.

**A face of unknown age** qualifies for a0, since the vendor says so, but for no later a that is proven.

**A vendor that breaks its own question** (a face older than a0, a score under t0) leaves nothing provable; the same
question must still get the same answer. So such a face is dropped only by a bound that this request moved past it.
"""

from __future__ import annotations

import math

from gateway.model import UNKNOWN_TIME, Match, Outcome, SearchParameters, UpstreamAnswer


def is_complete(asked: SearchParameters, answer: UpstreamAnswer) -> bool:
    """Whether the answer holds every face that qualifies: fewer came back than were asked for."""
    return len(answer.matches) < asked.max_results


def serve(asked: SearchParameters, answer: UpstreamAnswer, request: SearchParameters) -> UpstreamAnswer | None:
    """The answer to `request` that follows from `answer`, which was given to `asked`; None when it does not follow.

    `answer.matches` are sorted by score, highest first.
    """
    threshold, start_time, wanted = request.threshold, request.start_time, request.max_results
    if threshold < asked.threshold or start_time < asked.start_time:
        return None
    matches = answer.matches
    if not matches:
        return answer
    kept = matches
    if start_time > asked.start_time and UNKNOWN_TIME in [match.create_time for match in matches]:
        return None
    if threshold > asked.threshold or start_time > asked.start_time:
        kept = tuple([match for match in matches if _qualifies(match, asked, request)])
    complete = len(matches) < asked.max_results
    if not (complete or len(kept) >= wanted or threshold > matches[-1].score):
        return None
    if len(kept) > wanted:
        kept = kept[:wanted]
    if len(kept) == len(matches):
        return answer
    return answer._replace(matches=kept, outcome=Outcome.MATCHED if kept else Outcome.NO_MATCH)


def _qualifies(match: Match, asked: SearchParameters, request: SearchParameters) -> bool:
    scores = match.score >= request.threshold or request.threshold == asked.threshold
    return scores and not asked.start_time <= match.create_time < request.start_time


def displaces(
    asked: SearchParameters, answer: UpstreamAnswer, old_asked: SearchParameters, old_answer: UpstreamAnswer
) -> bool:
    """Whether a newer answer covers an older one: it answers every request that the older answers.

    It does when it answers the older one's own question, and either holds all of Q there (cases 1 and 3), so that every
    count is served, or the older one does not hold all either: then, the faces being the same, the older M is a part of
    the newer one's, and every count and bound that the older can serve, the newer can.
    """
    if serve(asked, answer, old_asked) is None:
        return False
    if not answer.matches or is_complete(asked, answer) or old_asked.threshold > answer.matches[-1].score:
        return True
    return not is_complete(old_asked, old_answer)


def contradicts(
    asked: SearchParameters, answer: UpstreamAnswer, other_asked: SearchParameters, other: UpstreamAnswer
) -> bool:
    """Whether the two answers cannot both be true of one face set. The order of the two makes no difference.

    The matches of both are sorted by score, highest first.
    """
    if asked == other_asked and answer.matches == other.matches:
        return False
    threshold = max(asked.threshold, other_asked.threshold)
    start_time = max(asked.start_time, other_asked.start_time)
    mine = {m for m in answer.matches if m.score >= threshold and m.create_time >= start_time}
    theirs = {m for m in other.matches if m.score >= threshold and m.create_time >= start_time}
    my_floor, their_floor = _floor(asked, answer), _floor(other_asked, other)
    if my_floor == their_floor:
        return any(m.score > my_floor for m in mine ^ theirs)
    if my_floor < their_floor:
        mine, theirs, my_floor, their_floor = theirs, mine, their_floor, my_floor
    return any(m.score >= my_floor for m in mine - theirs) or any(m.score > my_floor for m in theirs - mine)


def _floor(asked: SearchParameters, answer: UpstreamAnswer) -> float:
    return -math.inf if is_complete(asked, answer) else answer.matches[-1].score
