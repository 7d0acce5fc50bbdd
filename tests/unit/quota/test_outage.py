"""When a store counts as unavailable, and how long: hiccups, dead stores, and stores that come and go."""

from __future__ import annotations

import pytest
import structlog.testing

from gateway.quota.outage import Outage
from gateway.quota.store import OutageCause

TIMEOUT, BROKEN = OutageCause.TIMEOUT, OutageCause.CONNECTION


class Store:
    """An outage on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.questions = 0
        self.changes: list[bool] = []
        self.outage = Outage(self.changes.append, lambda: self.questions)

    def time_out(self, waited: float = 0.05) -> None:
        self.outage.failed(TIMEOUT, self.now, waited)

    def up(self, seconds: float, questions: int) -> None:
        """It was back, and was asked so often since."""
        self.outage.ended(self.now, written_back=0)
        self.now += seconds
        self.questions += questions


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_dead_store_is_noticed_with_the_third_time_out(store: Store) -> None:
    """One call after the other: 150 ms in all."""
    for _ in range(2):
        store.now += 0.0501
        store.time_out()
        assert not store.outage.open
    store.now += 0.0501
    store.time_out()
    assert store.outage.open


def test_a_broken_connection_is_noticed_at_once(store: Store) -> None:
    """As is an error for an answer."""
    store.outage.failed(BROKEN, store.now)
    assert store.changes == [True]


def test_one_hiccup_is_one_time_out_however_many_calls_it_meets(store: Store) -> None:
    """The store had no processor for 60 ms, and 200 calls were waiting: the next call is answered."""
    for number in range(200):
        store.now += 0.0002
        store.time_out(waited=0.05 + number * 0.0001)
    assert not store.outage.open
    assert store.outage.timeouts == 1


def test_a_dead_store_is_noticed_under_load_as_well(store: Store) -> None:
    """Calls come all the time: of each 50 ms one time-out counts, so it takes 150 ms."""
    began = store.now + 0.05
    while not store.outage.open:
        store.now += 0.001
        if store.now >= began:
            store.time_out()
    assert store.now - began < 0.15


def test_a_first_outage_is_over_when_the_store_is_back(store: Store) -> None:
    """Nobody waits for a store that is good again."""
    store.outage.failed(BROKEN, store.now)
    assert store.outage.rest_seconds == 0


def test_a_store_that_comes_and_goes_is_left_alone_for_longer_each_time(store: Store) -> None:
    """In ten minutes of failing with the first questions, as one whose account lacks a right, there are few lines."""
    with structlog.testing.capture_logs() as log:
        end = store.now + 600
        while store.now < end:
            store.outage.failed(BROKEN, store.now)
            store.now += max(store.outage.rest_seconds, 0.01)
            store.up(seconds=0.05, questions=3)
    assert store.outage.rest_seconds == 30.0
    assert len(log) < 60


def test_under_load_a_store_that_fails_within_a_quarter_of_a_second_was_not_back(store: Store) -> None:
    """A hundred questions may be on their way by then."""
    for _ in range(4):
        store.outage.failed(BROKEN, store.now)
        store.up(seconds=0.01, questions=100)
    store.outage.failed(BROKEN, store.now)
    assert store.outage.rest_seconds == 2.0


@pytest.mark.parametrize(("seconds", "questions"), [(0.3, 21), (61.0, 0)])
def test_a_store_that_was_good_for_a_while_starts_afresh(store: Store, seconds: float, questions: int) -> None:
    """By its answers, or by the time if nobody asked: its next outage is one like any other."""
    for _ in range(5):
        store.outage.failed(BROKEN, store.now)
        store.up(seconds=0.01, questions=1)
    store.outage.failed(BROKEN, store.now)
    assert store.outage.rest_seconds > 1
    store.up(seconds, questions)
    store.outage.failed(BROKEN, store.now)
    assert store.outage.rest_seconds == 0
