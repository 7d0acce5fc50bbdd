"""What the store's epochs may be, and which are taken over."""

from __future__ import annotations

import pytest

from gateway.cache.epochs import EpochView, Reading, Scope, parse_epoch, parse_reading

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
LATEST = NOW_MS + DAY_MS


def test_a_reading_is_the_time_and_the_epochs() -> None:
    """The time comes in seconds and microseconds."""
    assert parse_reading(b"1790000000 250000 all 7 0a1b 12") == Reading(1790000000.25, {"all": 7, "0a1b": 12})
    assert parse_reading(b"1790000000 5 ") == Reading(1790000000.000005, {})


@pytest.mark.parametrize(
    "reply",
    [
        *(None, 5, True, [], {}, "1 2 all 3", b"", b" ", b"1", b"1 ", b"x 2 all 3", b"1 x all 3", b"-1 2 all 3"),
        *(b"1 2 all", b"1 2 all 3 x", b"1 2 all x", b"1 2 all -3", b"1 2 all 0", b"1 2 all 1e3", b"1 2 all 1_0"),
        *(
            b"1 2 all +3",
            b"1 2 all 9007199254740992",
            b"1 2 all 99999999999999999999",
            b"1 2 \xff\xfe 3",
            b"1 2  3 4 5",
        ),
        b"1" * 5000 + b" 2 all 3",
    ],
)
def test_what_no_replica_wrote_is_no_reading(reply: object) -> None:
    """Whatever the reply is, nothing is raised."""
    assert parse_reading(reply) is None


@pytest.mark.parametrize("text", [None, 5, b"", b"0", b"-1", b"1.5", b"9007199254740992", b" 5", b"5 ", [b"5"]])
def test_what_is_no_epoch(text: object) -> None:
    """A reply to a purge that is none of these is an epoch."""
    assert parse_epoch(text) is None
    assert parse_epoch(b"9007199254740991") == 2**53 - 1


@pytest.mark.parametrize("spoiled", [{"all": LATEST + 1}, {"all": NOW_MS, "x": LATEST + 1}, {"all": 2**53 - 1}])
def test_an_epoch_more_than_a_day_ahead_is_not_taken_over(spoiled: dict[str, int]) -> None:
    """Somebody else wrote it, or the store's clock was wrong."""
    view = EpochView()
    assert view.adopt({"all": NOW_MS}, LATEST)
    assert not view.adopt(spoiled, LATEST)
    assert view.known(Scope()) == NOW_MS


def test_what_was_known_from_a_store_whose_clock_was_ahead_is_forgotten() -> None:
    """Set right, the store begins with an epoch of its own time again, and every replica takes it over."""
    view = EpochView()
    ahead = NOW_MS + 365 * DAY_MS
    assert view.adopt({"all": ahead, "x": ahead + 5}, ahead + DAY_MS)
    version = view.version
    assert view.adopt({"all": NOW_MS + 1}, LATEST)
    assert view.known(Scope()) == NOW_MS + 1
    assert view.version > version


def test_a_purge_is_in_force_at_once_whatever_was_known() -> None:
    """Also where the store counts from its own time again and was ahead before."""
    view = EpochView()
    ahead = NOW_MS + 365 * DAY_MS
    assert view.adopt({"all": ahead}, ahead + DAY_MS)
    before = view.of(Scope("kyc", "employees"))
    view.raise_to(Scope(), NOW_MS)
    assert view.of(Scope("kyc", "employees")) != before


def test_an_epoch_that_went_back_is_not_taken_over() -> None:
    """Of everything, or of one scope while that of everything is the same."""
    view = EpochView()
    assert view.adopt({"all": NOW_MS, "x": NOW_MS + 5}, LATEST)
    assert not view.adopt({"all": NOW_MS - 1, "x": NOW_MS + 5}, LATEST)
    assert not view.adopt({"all": NOW_MS, "x": NOW_MS + 4}, LATEST)
    assert not view.adopt({}, LATEST)
    assert view.adopt({"all": NOW_MS + 1}, LATEST)
