"""What a cached answer proves, held against a search of the whole face set by brute force."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache import coverage
from gateway.cache.entries import Entry, pack, unpack
from gateway.cache.merging import MAX_ENTRIES, is_barrier, merge
from gateway.model import Match, Outcome, SearchParameters, UpstreamAnswer

# Few values, so that ties and equal bounds are common.
SCORES = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
THRESHOLDS = [0.0, *SCORES]
TIMES = [10, 11, 12, 13, 14]
COUNTS = [1, 2, 3, 10]

parameters = st.builds(SearchParameters, st.sampled_from(THRESHOLDS), st.sampled_from(COUNTS), st.sampled_from(TIMES))
faces = st.lists(st.tuples(st.sampled_from(SCORES), st.sampled_from(TIMES)), max_size=12).map(
    lambda rows: [Match(n, 1000 + n, score, enrolled) for n, (score, enrolled) in enumerate(rows)]
)


def qualifying(face_set: list[Match], asked: SearchParameters) -> list[Match]:
    return [f for f in face_set if f.score >= asked.threshold and f.create_time >= asked.start_time]


def search(face_set: list[Match], asked: SearchParameters, tie_break: int = 1) -> UpstreamAnswer:
    """What the vendor does, by its page; faces of one score come in a fixed order."""
    best = sorted(qualifying(face_set, asked), key=lambda f: (-f.score, tie_break * f.face_id))
    matches = tuple(best[: asked.max_results])
    return UpstreamAnswer(matches, Outcome.MATCHED if matches else Outcome.NO_MATCH, "TID")


def provable(asked: SearchParameters, answer: UpstreamAnswer, request: SearchParameters) -> bool:
    """The contract's rule, in its own words."""
    if request.threshold < asked.threshold or request.start_time < asked.start_time:
        return False
    if len(answer.matches) < asked.max_results:
        return True
    enough = len(qualifying(list(answer.matches), request)) >= request.max_results
    return enough or request.threshold > min(f.score for f in answer.matches)


@settings(max_examples=600, deadline=None)
@given(faces, parameters, parameters, st.sampled_from([1, -1]))
def test_an_answer_served_is_the_answer_that_a_search_would_give(
    face_set: list[Match], asked: SearchParameters, request: SearchParameters, tie_break: int
) -> None:
    """Never a wrong answer, and never a miss where the rule allows a hit."""
    answer = search(face_set, asked, tie_break)
    served = coverage.serve(asked, answer, request)
    assert (served is not None) == provable(asked, answer, request)
    if served is not None:
        truth = search(face_set, request, tie_break)
        assert served.matches == truth.matches
        assert served.outcome is truth.outcome
        assert served.request_id == answer.request_id


@settings(max_examples=300, deadline=None)
@given(faces, parameters, parameters)
def test_what_is_not_served_cannot_be_known(
    face_set: list[Match], asked: SearchParameters, request: SearchParameters
) -> None:
    """For each miss of a stricter request another face set fits the answer held, but not the answer wanted."""
    answer = search(face_set, asked)
    stricter = request.threshold >= asked.threshold and request.start_time >= asked.start_time
    if not stricter or coverage.serve(asked, answer, request) is not None:
        return
    hidden = Match(99, 9999, answer.matches[-1].score, max(TIMES))
    without, within = list(answer.matches), [*answer.matches, hidden]
    assert search(without, asked).matches == search(within, asked).matches == answer.matches
    assert search(without, request).matches != search(within, request).matches


@settings(max_examples=300, deadline=None)
@given(faces, parameters, parameters)
def test_a_displaced_answer_served_nothing_that_its_successor_does_not(
    face_set: list[Match], newer: SearchParameters, older: SearchParameters
) -> None:
    """Displacing loses no hit: whatever the older answer serves, the newer serves, and the same."""
    new, old = search(face_set, newer), search(face_set, older)
    if not coverage.displaces(newer, new, older, old):
        return
    for threshold, count, start_time in product(THRESHOLDS, COUNTS, TIMES):
        request = SearchParameters(threshold, count, start_time)
        by_old = coverage.serve(older, old, request)
        if by_old is not None:
            by_new = coverage.serve(newer, new, request)
            assert by_new is not None
            assert by_new.matches == by_old.matches


@settings(max_examples=200, deadline=None)
@given(faces, st.lists(parameters, min_size=1, max_size=14))
def test_a_record_answers_as_the_face_set_does_and_holds_at_most_eight(
    face_set: list[Match], questions: list[SearchParameters]
) -> None:
    """Any sequence of searches, merged and packed, still gives true answers only; the newest is always served.

    And of eight searches none is forgotten: what any of them proves, the record serves.
    """
    record = b""
    for number, question in enumerate(questions):
        known = [(earlier, search(face_set, earlier)) for earlier in questions[:number]]
        if number <= MAX_ENTRIES:
            served_by_record = any(coverage.serve(e.asked, e.answer, question) for e in unpack(record))
            assert served_by_record == any(provable(earlier, answer, question) for earlier, answer in known)
        entries = merge(Entry(float(number), question, search(face_set, question)), list(unpack(record)))
        assert len([entry for entry in entries if not is_barrier(entry)]) <= MAX_ENTRIES
        record = pack(entries)
        assert coverage.serve(entries[0].asked, entries[0].answer, question) is not None
    for entry in unpack(record):
        for request in questions:
            served = coverage.serve(entry.asked, entry.answer, request)
            assert served is None or served.matches == search(face_set, request).matches


@given(
    st.lists(
        st.builds(
            Entry,
            st.floats(0, 2e9),
            st.builds(SearchParameters, st.floats(0, 1), st.integers(1, 10), st.integers(0, 2**40)),
            st.builds(
                UpstreamAnswer,
                st.lists(
                    st.builds(
                        Match,
                        st.integers(-(2**63), 2**63 - 1),
                        st.integers(-(2**63), 2**63 - 1),
                        st.floats(0, 1),
                        st.integers(0, 2**40),
                    ),
                    max_size=10,
                ).map(tuple),
                st.sampled_from(list(Outcome)),
                st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=128),
                st.just(0),
            ),
        ),
        max_size=8,
    )
)
def test_packing_loses_nothing(entries: list[Entry]) -> None:
    """What is unpacked equals what was packed, 64-bit ids and all."""
    assert list(unpack(pack(entries))) == entries
