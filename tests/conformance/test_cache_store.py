"""What every cache store does, shown through the result cache: one suite over the memory store and a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.cache.epochs import Scope
from gateway.cache.policy import CachePolicy
from gateway.cache.results import Absent, CachedAnswer
from gateway.model import Outcome, UpstreamAnswer
from tests.support.cache import NO_RESULT, START, asked, found, keep
from tests.support.cache_harness import IMAGE, KINDS, Harness, running_harness
from tests.support.valkey import StoreServer, running_store


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with running_store() as running:
        yield running


@pytest.fixture(params=KINDS)
async def harness(request: pytest.FixtureRequest, server: StoreServer) -> AsyncIterator[Harness]:
    async with running_harness(request.param, server) as running:
        yield running


async def test_a_miss_then_a_hit_with_the_same_answer(harness: Harness) -> None:
    """What was kept is served, with every field but the attempts: a hit makes none."""
    assert await harness.look(asked()) is Absent.MISS
    await harness.hold(asked(), found(0.985))
    held = (await harness.hit(asked())).answer
    assert (held.matches, held.outcome, held.request_id, held.attempts) == (
        found(0.985).matches,
        Outcome.MATCHED,
        "TID1",
        0,
    )


async def test_age_and_expiry_are_exact(harness: Harness) -> None:
    """To the second, and the answer dies at its expiry."""
    stored_at = harness.clock.now()
    assert await harness.hold(asked(), found(0.9)) == stored_at + 300
    for passed in (0.0, 1.0, 299.0):
        await harness.advance(stored_at + passed - harness.clock.now())
        held = await harness.hit(asked())
        assert (held.age_seconds, held.expire_time) == (passed, stored_at + 300)
    await harness.advance(1.0)
    assert await harness.look(asked()) is Absent.MISS


@pytest.mark.parametrize(("answer", "lives"), [(found(), 60), (NO_RESULT, 10), (found(0.9), 300)])
async def test_how_long_an_answer_lives_depends_on_what_was_found(
    harness: Harness, answer: UpstreamAnswer, lives: float
) -> None:
    """Nobody found: the shorter time, since a person may be enrolled; no result reported: seconds."""
    assert await harness.hold(asked(), answer) == harness.clock.now() + lives
    await harness.advance(lives - 1)
    assert (await harness.hit(asked())).answer.outcome is answer.outcome
    await harness.advance(1)
    assert await harness.look(asked()) is Absent.MISS


async def test_an_answer_cut_down_to_nothing_lives_as_one_that_found_nobody(harness: Harness) -> None:
    """Its expiry is that of a NO_MATCH, while the whole answer lives on."""
    stored_at = harness.clock.now()
    await harness.hold(asked(0.8, 10), found(0.85))
    assert (await harness.hit(asked(0.9))).expire_time == stored_at + 60
    await harness.advance(60)
    assert await harness.look(asked(0.9)) is Absent.MISS
    assert (await harness.hit(asked(0.8))).expire_time == stored_at + 300


async def test_no_answer_older_than_the_caller_accepts(harness: Harness) -> None:
    """`max_age` is inclusive, and shortens but never lengthens a life."""
    await harness.hold(asked(), found(0.9))
    await harness.advance(10)
    assert isinstance(await harness.look(asked(), max_age=10), CachedAnswer)
    assert await harness.look(asked(), max_age=9.999) is Absent.MISS
    await harness.advance(290)
    assert await harness.look(asked(), max_age=1000) is Absent.MISS


async def test_no_answer_lives_longer_than_an_hour(harness: Harness) -> None:
    """Whatever the policy says."""
    harness.cache.policy = CachePolicy(ttl_seconds=10**6, no_match_ttl_seconds=10**6)
    assert await harness.hold(asked(), found(0.9)) == harness.clock.now() + 3600


async def test_an_answer_from_the_future_is_not_served(harness: Harness) -> None:
    """A clock that was set back must not lengthen lives; less than a second is within what clocks differ by."""
    await harness.hold(asked(), found(0.9))
    harness.clock.advance(-0.75)
    assert (await harness.hit(asked())).age_seconds == 0
    harness.clock.advance(-0.5)
    assert await harness.look(asked()) is Absent.MISS


async def test_tenants_and_face_sets_never_meet(harness: Harness) -> None:
    """The same image of another tenant, or in another face set, is a miss."""
    await harness.hold(asked(), found(0.9))
    assert await harness.look(asked(), tenant="hr") is Absent.MISS
    assert await harness.look(asked(), face_set="visitors") is Absent.MISS
    assert await harness.look(asked(), image=IMAGE + b"!") is Absent.MISS


async def test_answers_to_several_questions_live_side_by_side(harness: Harness) -> None:
    """A key holds what neither covers; the newest that serves is served."""
    await harness.hold(asked(0.9, 1), found(0.95, enrolled=START + 10))
    await harness.advance(5)
    await harness.hold(asked(0.6, 1, START + 50), found(0.7))
    assert (await harness.hit(asked(0.9, 1))).age_seconds == 5
    assert (await harness.hit(asked(0.6, 1, START + 50))).age_seconds == 0
    assert await harness.look(asked(0.6, 2, START + 50)) is Absent.MISS


async def test_eight_answers_a_key(harness: Harness) -> None:
    """The ninth puts out the oldest."""
    for number in range(9):
        await harness.hold(asked(0.8, 1, START + number), found(0.9))
    assert await harness.look(asked(0.8, 1, START)) is Absent.MISS
    assert isinstance(await harness.look(asked(0.8, 1, START + 1)), CachedAnswer)


async def test_a_refreshed_answer_replaces_the_old(harness: Harness) -> None:
    """Whoever asks after a refresh gets what it found."""
    await harness.hold(asked(), found(0.9))
    await harness.hold(asked(), found(0.99))
    assert [m.score for m in (await harness.hit(asked())).answer.matches] == [0.99]


async def test_answers_out_of_order_are_sorted(harness: Harness) -> None:
    """Coverage needs the lowest score last, whatever order the vendor chose."""
    await harness.hold(asked(0.8, 2), found(0.85, 0.95))
    assert [m.score for m in (await harness.hit(asked(0.8, 1))).answer.matches] == [0.95]


async def test_many_stores_of_one_key_at_once_lose_none(harness: Harness) -> None:
    """Two questions stored at the same time are both answered after it."""
    first, second = asked(0.9, 1), asked(0.6, 1, START + 50)
    await asyncio.gather(harness.hold(first, found(0.95, enrolled=START + 10)), harness.hold(second, found(0.7)))
    assert isinstance(await harness.look(first), CachedAnswer)
    assert isinstance(await harness.look(second), CachedAnswer)


@pytest.mark.parametrize(
    ("scope", "dead"),
    [
        (Scope(), {("kyc", "employees"), ("kyc", "visitors"), ("hr", "employees")}),
        (Scope("kyc"), {("kyc", "employees"), ("kyc", "visitors")}),
        (Scope("kyc", "visitors"), {("kyc", "visitors")}),
        (Scope("nobody"), set()),
    ],
)
async def test_a_purge_kills_its_scope_and_nothing_else(
    harness: Harness, scope: Scope, dead: set[tuple[str, str]]
) -> None:
    """Every answer of the scope is a miss, every other a hit; new answers are kept again."""
    places = [("kyc", "employees"), ("kyc", "visitors"), ("hr", "employees")]
    for tenant, face_set in places:
        await keep(harness.cache, harness.cache.key(tenant, face_set, IMAGE), asked(), found(0.9))
    assert await harness.cache.purge(scope) >= 1
    for tenant, face_set in places:
        held = await harness.look(asked(), tenant=tenant, face_set=face_set)
        assert (held is Absent.MISS) == ((tenant, face_set) in dead)
        assert await keep(harness.cache, harness.cache.key(tenant, face_set, IMAGE), asked(), found(0.9))
        assert isinstance(await harness.look(asked(), tenant=tenant, face_set=face_set), CachedAnswer)


async def test_each_purge_brings_a_higher_epoch(harness: Harness) -> None:
    """Also within one millisecond."""
    epochs = [await harness.cache.purge(Scope("kyc")) for _ in range(20)]
    assert epochs == sorted(set(epochs))


async def test_a_search_in_flight_cannot_store_under_the_old_epoch(harness: Harness) -> None:
    """Its key was made before the purge, so what it brings is neither kept nor served."""
    key = harness.cache.key("kyc", "employees", IMAGE)
    await harness.cache.purge(Scope("kyc", "employees"))
    assert await keep(harness.cache, key, asked(), found(0.9)) is None
    assert await harness.look(asked()) is Absent.MISS
