"""The cases of coverage by hand: bounds, ties, no result reported, a vendor that breaks its own question."""

from __future__ import annotations

import pytest

from gateway.cache import coverage
from gateway.cache.entries import Entry, Unpackable, pack, unpack
from gateway.cache.merging import is_barrier, merge
from gateway.model import UNKNOWN_TIME, Match, Outcome, SearchParameters, UpstreamAnswer
from tests.support.cache import NO_RESULT, START, asked, found


@pytest.mark.parametrize(
    ("held_for", "scores", "request_", "scores_served"),
    [
        (asked(0.8, 1), [0.9], asked(0.8, 1), [0.9]),
        (asked(0.8, 10), [0.9, 0.85], asked(0.8, 1), [0.9]),
        (asked(0.8, 10), [0.9, 0.85], asked(0.88, 10), [0.9]),
        (asked(0.8, 10), [], asked(0.9, 3), []),
        (asked(0.8, 2), [0.9, 0.85], asked(0.9, 1), [0.9]),
        (asked(0.8, 2), [0.9, 0.85], asked(0.86, 5), [0.9]),
        (asked(0.8, 2), [0.9, 0.85], asked(0.85, 5), None),
        (asked(0.8, 2), [0.9, 0.85], asked(0.8, 3), None),
        (asked(0.8, 3), [0.9, 0.85], asked(0.8, 10), [0.9, 0.85]),
        (asked(0.8, 1), [0.95], asked(0.7, 1), None),
        (asked(0.8, 1), [], asked(0.8, 1, START - 1), None),
    ],
)
def test_serves_what_it_proves(
    held_for: SearchParameters, scores: list[float], request_: SearchParameters, scores_served: list[float] | None
) -> None:
    """Stricter requests are served from a complete answer, or from enough of, or above, an incomplete one."""
    served = coverage.serve(held_for, found(*scores), request_)
    assert (None if served is None else [m.score for m in served.matches]) == scores_served


def test_an_answer_cut_down_to_nothing_found_nobody() -> None:
    """MATCHED becomes NO_MATCH when no match is left."""
    served = coverage.serve(asked(0.8, 10), found(0.85), asked(0.9, 1))
    assert served is not None
    assert served.outcome is Outcome.NO_MATCH


@pytest.mark.parametrize(
    ("request_", "served"),
    [
        (asked(0.8, 1), True),
        (asked(0.9, 10, START + 5), True),
        (asked(0.7, 1), False),
        (asked(0.8, 1, START - 1), False),
    ],
)
def test_no_result_reported_answers_the_same_and_stricter_requests_as_what_it_is(
    request_: SearchParameters, served: bool
) -> None:
    """It is never turned into NO_MATCH, and never reused for a laxer request."""
    assert coverage.serve(asked(0.8, 1), NO_RESULT, request_) == (NO_RESULT if served else None)


def test_a_face_older_than_asked_for_stays_as_time_moves_on() -> None:
    """A vendor that returns such a face gets the same answer served to the same question a few seconds later."""
    old = UpstreamAnswer((Match(1, 2, 0.9, START - 10**8),), Outcome.MATCHED, "TID")
    assert coverage.serve(asked(), old, asked(start_time=START + 5)) == old


def test_a_face_of_unknown_age_answers_for_no_later_start() -> None:
    """The vendor did not say when it was enrolled; it said that it qualifies for the bound that it was asked for."""
    unknown = UpstreamAnswer((Match(1, 2, 0.9, UNKNOWN_TIME),), Outcome.MATCHED, "TID")
    assert coverage.serve(asked(), unknown, asked()) == unknown
    assert coverage.serve(asked(), unknown, asked(start_time=START + 1)) is None
    (entry,) = unpack(pack([Entry(1.0, asked(), unknown)]))
    assert entry.answer.matches == unknown.matches


def test_a_face_under_the_threshold_stays_for_the_same_threshold() -> None:
    """The same question gets the same answer; a higher threshold is kept."""
    low = found(0.7)
    assert coverage.serve(asked(0.8, 10), low, asked(0.8, 10, START + 1)) == low
    cut = coverage.serve(asked(0.8, 10), low, asked(0.81, 10))
    assert cut is not None
    assert cut.matches == ()


def test_a_new_answer_displaces_what_it_covers_then_the_oldest() -> None:
    """Eight answers at most, newest first."""
    record: list[Entry] = []
    for second in range(9):
        record = merge(Entry(second, asked(0.8, 1, START + second), found(0.9)), record)
    assert [e.asked_at for e in record if not is_barrier(e)] == [8, 7, 6, 5, 4, 3, 2, 1]
    wide = Entry(9, asked(0.5, 10, START), found(0.9, 0.6))
    assert [e for e in merge(wide, record) if not is_barrier(e)] == [wide]


def test_a_complete_answer_is_not_displaced_by_an_incomplete_one_that_knows_less() -> None:
    """The complete answer serves any count; three matches of many do not."""
    complete = Entry(1, asked(0.8, 3), found(0.95, 0.9))
    partial = Entry(2, asked(0.8, 2), found(0.95, 0.9))
    assert merge(partial, [complete]) == [partial, complete]


@pytest.mark.parametrize("cut", [1, 10, 30, 40, 60])
def test_a_record_cut_short_is_refused(cut: int) -> None:
    """A truncated record is an error, never a shorter answer."""
    record = pack([Entry(1.0, asked(0.8, 2), found(0.9, 0.85))])
    with pytest.raises(Unpackable):
        list(unpack(record[:-cut]))


def test_an_unknown_outcome_is_refused() -> None:
    """A byte that no writer writes makes the record unreadable."""
    record = bytearray(pack([Entry(1.0, asked(), found())]))
    record[26] = 9
    with pytest.raises(Unpackable):
        list(unpack(bytes(record)))


def test_an_id_beyond_64_bits_is_not_packed() -> None:
    """What cannot be kept exactly is not kept."""
    answer = UpstreamAnswer((Match(2**63, 1, 0.9, START),), Outcome.MATCHED, "TID")
    with pytest.raises(Unpackable):
        pack([Entry(1.0, asked(), answer)])


def test_an_overlong_request_id_is_left_out() -> None:
    """The vendor's id of a search never grows a record without bound."""
    (entry,) = unpack(pack([Entry(1.0, asked(), found(0.9, request_id="T" * 300))]))
    assert entry.answer.request_id == ""
