"""Ages, and the order of questions and answers: the same over every cache store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.cache.results import Absent, CachedAnswer
from tests.support.cache import NO_RESULT, START, asked, found
from tests.support.cache_harness import KINDS, Harness, running_harness
from tests.support.valkey import StoreServer, running_store


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with running_store() as running:
        yield running


@pytest.fixture(params=KINDS)
async def harness(request: pytest.FixtureRequest, server: StoreServer) -> AsyncIterator[Harness]:
    async with running_harness(request.param, server) as running:
        yield running


async def test_age_counts_from_the_time_of_asking(harness: Harness) -> None:
    """With a vendor that takes 4 s a new answer is 4 s old: too old for a caller who accepts 1 s, and 4 s nearer its end."""
    now = harness.clock.now()
    assert await harness.hold(asked(), found(0.9), asked_ago=4.0) == now + 296
    held = await harness.hit(asked())
    assert (held.age_seconds, held.expire_time) == (4.0, now + 296)
    assert await harness.look(asked(), max_age=3.9) is Absent.MISS
    assert isinstance(await harness.look(asked(), max_age=4.0), CachedAnswer)
    await harness.advance(296)
    assert await harness.look(asked()) is Absent.MISS


async def test_an_answer_that_came_after_its_lifetime_is_not_served(harness: Harness) -> None:
    """Nor one that took longer than any search at the vendor may take."""
    assert await harness.hold(asked(), NO_RESULT, asked_ago=10.0) is None
    assert await harness.look(asked()) is Absent.MISS
    for asked_ago, kept in ((15.1, False), (14.9, True)):
        assert bool(await harness.hold(asked(), found(0.9), asked_ago=asked_ago, image=b"another")) == kept
        assert isinstance(await harness.look(asked(), image=b"another"), CachedAnswer) == kept


async def test_an_answer_to_an_older_question_does_not_displace_a_newer_one(harness: Harness) -> None:
    """A is asked, the set changes, a refresh B is answered, A lands: B is served, with its age."""
    await harness.advance(10)
    await harness.hold(asked(), found(0.99), asked_ago=1.0)
    assert await harness.hold(asked(), found(0.9), asked_ago=5.0) is None
    held = await harness.hit(asked())
    assert [m.score for m in held.answer.matches] == [0.99]
    assert held.age_seconds == 1.0


async def test_an_older_answer_with_a_wider_question_serves_what_the_newer_cannot(harness: Harness) -> None:
    """As long as both can be true; what the newer one answers, it answers."""
    both = found(0.95, 0.7)
    await harness.hold(asked(0.9, 1), found(0.95), asked_ago=1.0)
    assert await harness.hold(asked(0.5, 10), both, asked_ago=5.0)
    assert (await harness.hit(asked(0.6, 10))).answer.matches == both.matches
    assert (await harness.hit(asked(0.6, 10))).age_seconds == 5.0
    assert (await harness.hit(asked(0.9, 1))).age_seconds == 1.0


@pytest.mark.parametrize("late", [True, False])
async def test_an_older_answer_that_a_newer_one_contradicts_is_not_served(harness: Harness, *, late: bool) -> None:
    """Its face of 0.95 is gone: what else it found is not served either, whichever of the two lands first."""
    old, new = (asked(0.5, 10), found(0.95, 0.7), 5.0), (asked(0.9, 1), found(), 1.0)
    for parameters, answer, asked_ago in (new, old) if late else (old, new):
        await harness.hold(parameters, answer, asked_ago=asked_ago)
    assert await harness.look(asked(0.6, 10)) is Absent.MISS
    assert (await harness.hit(asked(0.9, 1))).answer.matches == ()


async def test_an_answer_that_expired_still_keeps_older_ones_out(harness: Harness) -> None:
    """A "no result" lives 10 s; an older answer that lands after 12 does not become what is served."""
    await harness.hold(asked(), NO_RESULT, asked_ago=1.0)
    await harness.advance(10)
    assert await harness.look(asked()) is Absent.MISS
    assert await harness.hold(asked(), found(0.9), asked_ago=13.0) is None
    assert await harness.look(asked()) is Absent.MISS


async def test_an_expired_answer_does_not_uncover_the_older_one_that_it_replaced(harness: Harness) -> None:
    """The vendor reported no result for the stricter question; "nobody", from before that, is not served in its place."""
    await harness.hold(asked(0.5, 10), found(), asked_ago=5.0)
    await harness.hold(asked(0.9, 1), NO_RESULT, asked_ago=1.0)
    await harness.advance(10)
    assert await harness.look(asked(0.9, 1)) is Absent.MISS
    assert (await harness.hit(asked(0.5, 10))).age_seconds == 15.0


async def test_an_answer_from_the_future_keeps_no_new_one_out(harness: Harness) -> None:
    """What was dated before the clock was set back is dropped when the next answer lands."""
    await harness.hold(asked(), found(0.9))
    harness.clock.advance(-30)
    assert await harness.hold(asked(), found(0.99))
    assert [m.score for m in (await harness.hit(asked())).answer.matches] == [0.99]


async def test_an_answer_from_before_a_change_does_not_land_after_the_answers_that_showed_it(harness: Harness) -> None:
    """The answer that would contradict it was dropped itself; the time of its question is remembered."""
    await harness.hold(asked(0.9, 1), found(0.95), asked_ago=1.0)
    assert await harness.hold(asked(0.5, 2), found(), asked_ago=3.0) is None
    assert await harness.hold(asked(0.5, 1, START + 5), found(0.95), asked_ago=5.0) is None
    assert await harness.look(asked(0.5, 1, START + 5)) is Absent.MISS


async def test_a_wall_clock_that_is_set_changes_neither_ages_nor_lifetimes(harness: Harness) -> None:
    """It was an hour fast when the answer came, and is set right; only `expire_time` is by that clock."""
    harness.clock.set(3600)
    await harness.hold(asked(), found(0.9))
    harness.clock.set(-3600)
    await harness.advance(7)
    held = await harness.hit(asked())
    assert (held.age_seconds, held.expire_time) == (7.0, harness.clock.now() + 293)
    await harness.advance(293)
    assert await harness.look(asked()) is Absent.MISS
