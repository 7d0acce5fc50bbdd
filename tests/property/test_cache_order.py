"""Answers that land in any order, held against a naive model that remembers all of them."""

from __future__ import annotations

import random
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cache import coverage
from gateway.cache.entries import Entry, pack, unpack
from gateway.cache.epochs import Scope
from gateway.cache.memory import MemoryCacheStore
from gateway.cache.merging import is_barrier, join_records, merge
from gateway.cache.policy import CachePolicy
from gateway.model import Match
from tests.support.cache import result_cache
from tests.support.cache_order import FACES, FLIGHT_SECONDS, QUESTIONS, Flight, OrderModel, brute_force
from tests.support.clock import ManualClock

T = TypeVar("T")
questions = st.sampled_from(QUESTIONS)
face_sets = st.lists(st.sampled_from(FACES), unique=True, max_size=len(FACES))


def done(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value  # type: ignore[no-any-return]
    raise AssertionError("the memory store waited")


def play(seed: int) -> int:
    """One random story over the memory store; the number of hits in it."""
    shuffle, clock = random.Random(seed), ManualClock()
    policy = CachePolicy(ttl_seconds=60, no_match_ttl_seconds=5, flight_seconds=FLIGHT_SECONDS)
    cache = result_cache(MemoryCacheStore(clock, 1 << 20), clock, policy=policy)
    model = OrderModel(clock, [cache])
    for _ in range(50):
        clock.advance(shuffle.choice([0.01, 0.01, 0.1, 1.0, 4.0]))
        match shuffle.choices(["ask", "land", "change", "purge", "wait"], [9, 7, 2, 0.3, 0.2])[0]:
            case "ask":
                model.ask(0, shuffle.choice(QUESTIONS))
            case "land":
                flight = done(model.land(0, shuffle.randrange(10)))
                if flight in model.landed and model.newest_answer(flight):
                    lifetime_seconds = 60 if flight.answer.matches else 5
                    served = done(model.look(0, flight.asked))
                    assert served == (clock.monotonic() - flight.asked_at < lifetime_seconds)
            case "change":
                model.change(shuffle)
            case "purge":
                done(cache.purge(Scope("kyc")))
                model.purged()
            case _:
                clock.advance(50)
        for question in shuffle.sample(QUESTIONS, 6):
            done(model.look(0, question, shuffle.choice([None, None, 1.0, 5.0])))
    return model.hits


@pytest.mark.parametrize("seeds", [range(60), range(60, 120)], ids=str)
def test_no_hit_is_older_than_an_answer_that_covers_or_contradicts_it(seeds: range) -> None:
    """Over the memory store: slow old answers, refreshes, purges and changes of the face set in any order.

    And the cache is of use: the answer to the latest question is served.
    """
    hits = 0
    for seed in seeds:
        try:
            hits += play(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert hits > 30 * len(seeds)


@settings(max_examples=150, deadline=None)
@given(face_sets, face_sets, questions, questions)
def test_contradiction_is_what_trying_out_every_request_finds(
    before: list[Match], after: list[Match], asked: Any, other_asked: Any
) -> None:
    """Two answers of one face set never contradict each other; two that give one request two answers always do."""
    answer = brute_force(before, asked)
    assert not coverage.contradicts(asked, answer, other_asked, brute_force(before, other_asked))
    other = brute_force(after, other_asked)
    verdict = coverage.contradicts(asked, answer, other_asked, other)
    assert verdict == coverage.contradicts(other_asked, other, asked, answer)
    key: Any = None
    if Flight(0.0, asked, answer, key).contradicts(Flight(0.0, other_asked, other, key)):
        assert verdict


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(questions, face_sets), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_the_order_in_which_answers_land_makes_no_difference(
    asked: list[tuple[Any, list[Match]]], shuffle: random.Random
) -> None:
    """Nor whether they land in one record, or in two that are joined: the same answers are served."""
    entries = [Entry(float(n), question, brute_force(faces, question)) for n, (question, faces) in enumerate(asked)]

    def record(landing: list[Entry]) -> list[Entry]:
        held: list[Entry] = []
        for entry in landing:
            held = merge(entry, held)
        return held

    in_order = [entry for entry in record(entries) if not is_barrier(entry)]
    shuffled = shuffle.sample(entries, len(entries))
    assert [entry for entry in record(shuffled) if not is_barrier(entry)] == in_order
    half = len(shuffled) // 2
    first, second = pack(record(shuffled[:half])), pack(record(shuffled[half:]))
    for joined in (join_records(first, second), join_records(second, first)):
        answers = [entry for entry in unpack(joined) if not is_barrier(entry)]
        assert [(e.asked_at, e.asked, e.answer.matches) for e in answers] == [
            (e.asked_at, e.asked, e.answer.matches) for e in in_order
        ]
