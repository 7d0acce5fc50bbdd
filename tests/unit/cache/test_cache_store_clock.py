"""The store's time as a process carries it on between two readings."""

from __future__ import annotations

import random

import pytest

from gateway.cache.store_clock import STEP_SECONDS, StoreClock
from tests.support.clock import ManualClock

STORE_START = 1_790_000_000.0


class Store:
    """A store whose clock is off by `ahead` seconds, and a replica that reads it over a slow line."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.replica = ManualClock()
        self.replica.advance(12_345.6)
        self.clock = StoreClock(self.replica)

    def true_time(self) -> float:
        return STORE_START + self.replica.monotonic() + self.ahead

    def read(self, there: float = 0.0, back: float = 0.0, late: float = 0.0) -> bool:
        """A reading that takes so many seconds each way; the process looks at the reply `late` seconds later."""
        sent_at = self.replica.monotonic()
        self.replica.advance(there)
        time = self.true_time()
        self.replica.advance(back + late)
        return self.clock.note(time, sent_at, self.replica.monotonic())

    def error(self) -> float:
        return abs(self.clock.time() - self.true_time())


def test_the_error_is_at_most_half_of_the_quickest_round_trip() -> None:
    """However uneven the ways are; a quick reading improves what a slow one found."""
    store = Store()
    assert store.read(there=0.03, back=0.001)
    assert store.error() <= 0.0156
    store.replica.advance(0.5)
    assert store.read(there=0.001, back=0.001)
    assert store.error() <= 0.0011
    store.replica.advance(0.5)
    assert store.read(there=0.04, back=0.0)
    assert store.error() <= 0.002


def test_a_process_that_is_late_does_not_take_it_for_a_step() -> None:
    """The time until the process looks at the reply counts as part of the way."""
    store, shuffle = Store(), random.Random(1)
    for _ in range(500):
        assert store.read(*(shuffle.choice([0.0001, 0.02, 2.0]) for _ in range(3)))
        store.replica.advance(0.5)
    assert store.error() < 0.01


def test_the_wall_clock_of_the_replica_makes_no_difference() -> None:
    """It may be set by an hour between two readings."""
    store = Store()
    store.read()
    store.replica._now += 3600
    assert store.error() < 1e-6
    assert store.read()
    assert store.error() < 1e-6


def test_time_at_is_the_same_moment_by_the_other_clock() -> None:
    """A question is dated when its answer lands, by what is known of the store's clock then."""
    store = Store()
    store.read()
    asked_at, then = store.replica.monotonic(), store.true_time()
    store.replica.advance(7)
    assert store.clock.time_at(asked_at) == pytest.approx(then, abs=1e-6)


@pytest.mark.parametrize(("step", "noticed"), [(3600, True), (-3600, True), (0.6, True), (-0.6, True), (0.3, False)])
def test_a_clock_that_is_set_is_noticed_once_and_followed(step: float, *, noticed: bool) -> None:
    """Steps of less than half a second are followed without a word."""
    store = Store()
    store.read(there=0.001, back=0.001)
    store.ahead += step
    store.replica.advance(0.5)
    assert store.read(there=0.001, back=0.001) is not noticed
    assert store.error() < 0.002
    assert store.read()
    assert STEP_SECONDS == 0.5


def test_a_suspended_machine_notices_the_time_it_missed() -> None:
    """Its monotonic clock stood still meanwhile."""
    store = Store()
    store.read()
    store.ahead += 30
    assert not store.read()


def test_clocks_that_drift_apart_are_followed() -> None:
    """Half a second a day does not empty the cache, and neither does an hour without a reading."""
    store = Store()
    for _ in range(200):
        assert store.read(there=0.001, back=0.001)
        store.replica.advance(30)
        store.ahead += 30 * 5e-4
    store.replica.advance(3600)
    store.ahead += 3600 * 5e-4
    assert store.read()
