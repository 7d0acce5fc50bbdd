"""Keys of a URL: when they are fetched, and how long they last, by an injected clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from gateway.auth import key_sources
from gateway.auth.key_sources import (
    KEPT_SECONDS,
    MAX_WAITING,
    REFRESH_SECONDS,
    RETRY_SECONDS,
    UNKNOWN_KEY_SECONDS,
    FetchedKeys,
)
from tests.support.clock import ManualClock
from tests.support.oidc import SigningKey, key_set

OLD, NEW = SigningKey(key_id="old"), SigningKey(key_id="new")


class Endpoint:
    """What is fetched: a document, an error, or nothing until the test says so."""

    def __init__(self, document: bytes) -> None:
        self.document = document
        self.error: Exception | None = None
        self.hold: asyncio.Event | None = None
        self.fetches = 0

    async def __call__(self) -> bytes:
        self.fetches += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return self.document


class Source:
    """Fetched keys with their endpoint and clock."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.endpoint = Endpoint(key_set(OLD.jwk()))
        self.changes = 0
        self.keys = FetchedKeys("https://issuer.example", self.endpoint, clock=self.clock, on_change=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    async def tick(self, seconds: float = 0.0) -> None:
        """Moves time, and runs what is due then."""
        self.clock.advance(seconds)
        self.keys.fetch_if_due()
        await self.keys.settled()

    def problem(self) -> str | None:
        """What is wrong."""
        return self.keys.problem

    def knows(self, *key_ids: str) -> bool:
        """Whether all of these keys are at hand."""
        return all(self.keys.find(key_id, "ES256") is not None for key_id in key_ids)


@pytest.fixture
def source() -> Source:
    return Source()


async def fresh(source: Source, key_ids: Sequence[str]) -> int:
    """How many of these ids are found when callers ask for all of them at once."""
    found = await asyncio.gather(*(source.keys.find_fresh(key_id, "ES256") for key_id in key_ids))
    return sum(key is not None for key in found)


async def test_keys_are_refreshed_in_the_background(source: Source) -> None:
    """At once, then every five minutes; a withdrawn key is gone with the next fetch, and that is told."""
    await source.tick()
    assert source.knows("old")
    source.endpoint.document = key_set(NEW.jwk())
    await source.tick(REFRESH_SECONDS - 1)
    assert (source.endpoint.fetches, source.changes) == (1, 1)

    await source.tick(1)
    assert source.endpoint.fetches == 2
    assert source.knows("new")
    assert not source.knows("old")
    assert source.changes == 2


async def test_the_same_document_is_no_change(source: Source) -> None:
    """Remembered tokens stay remembered through a refresh that brought nothing new."""
    await source.tick()
    await source.tick(REFRESH_SECONDS)

    assert (source.endpoint.fetches, source.changes) == (2, 1)


async def test_an_unknown_key_id_fetches_at_once(source: Source) -> None:
    """A caller with a token of a new key does not wait for the refresh."""
    await source.tick()
    source.endpoint.document = key_set(OLD.jwk(), NEW.jwk())

    assert await source.keys.find_fresh("new", "ES256") is not None


async def test_a_flood_of_unknown_key_ids_makes_one_fetch_in_30_s(source: Source) -> None:
    """10,000 made-up ids, one after the other and at once; the good key stays usable all the while."""
    await source.tick()
    for number in range(5_000):
        await source.keys.find_fresh(f"random-{number}", "ES256")
    assert await fresh(source, [f"random-{number}" for number in range(5_000, 10_000)]) == 0
    assert source.endpoint.fetches == 2
    assert source.knows("old")

    source.clock.advance(UNKNOWN_KEY_SECONDS - 0.1)
    await source.keys.find_fresh("random", "ES256")
    assert source.endpoint.fetches == 2
    source.clock.advance(0.1)
    await source.keys.find_fresh("random", "ES256")
    assert source.endpoint.fetches == 3


async def test_callers_share_the_fetch_in_flight(source: Source) -> None:
    """Those that ask while one runs wait for it; it is the same for all, and bounded in number."""
    await source.tick()
    source.endpoint.document = key_set(NEW.jwk())
    source.endpoint.hold = asyncio.Event()
    asking = asyncio.create_task(fresh(source, ["new"] * (MAX_WAITING + 10)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.endpoint.hold.set()

    assert await asking == MAX_WAITING
    assert source.endpoint.fetches == 2


async def test_a_caller_waits_at_most_so_long(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that hangs costs a caller two seconds, not its deadline; the fetch goes on for the others."""
    monkeypatch.setattr(key_sources, "WAIT_SECONDS", 0.01)
    source.endpoint.document = key_set(NEW.jwk())
    source.endpoint.hold = asyncio.Event()

    async with asyncio.timeout(30):
        assert await source.keys.find_fresh("new", "ES256") is None
    source.endpoint.hold.set()
    await source.keys.settled()
    assert source.knows("new")


async def test_a_caller_that_gives_up_does_not_end_the_fetch(source: Source) -> None:
    """The fetch belongs to all."""
    source.endpoint.hold = asyncio.Event()
    asking = asyncio.create_task(source.keys.find_fresh("old", "ES256"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    source.endpoint.hold.set()
    await source.keys.settled()

    assert source.knows("old")


async def test_a_first_step_that_would_wait_can_be_taken_back(source: Source) -> None:
    """The server drops an attempt that would wait and makes another later, which joins the fetch of the first."""
    await source.tick()
    source.endpoint.document = key_set(NEW.jwk())
    for _ in range(MAX_WAITING + 1):
        attempt = source.keys.find_fresh("new", "ES256")
        attempt.send(None)
        attempt.close()

    assert await source.keys.find_fresh("new", "ES256") is not None
    assert source.endpoint.fetches == 2


async def test_closing_refuses_the_waiting_instead_of_cancelling_them(source: Source) -> None:
    """A cancellation that leaked into a call would leave its caller without an answer."""
    source.endpoint.hold = asyncio.Event()
    asking = asyncio.create_task(source.keys.find_fresh("old", "ES256"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await source.keys.aclose()
    assert await asking is None


@pytest.mark.parametrize("fault", [OSError("10.0.0.1 refused"), TimeoutError(), b"<html>", key_set()])
async def test_an_outage_of_an_hour_changes_nothing_for_known_keys(source: Source, fault: Exception | bytes) -> None:
    """Unreachable or answering junk: the keys stay, the problem shows, and each change of state is logged once."""
    await source.tick()
    good = source.endpoint.document
    if isinstance(fault, Exception):
        source.endpoint.error = fault
    else:
        source.endpoint.document = fault
    with capture_logs() as logs:
        for _ in range(int(3600 / RETRY_SECONDS)):
            await source.tick(RETRY_SECONDS)
            assert source.knows("old")
            assert await source.keys.find_fresh("random", "ES256") is None
        assert source.problem() is not None
        assert (source.keys.age_seconds or 0) >= 3600

        source.endpoint.error, source.endpoint.document = None, good
        await source.tick(RETRY_SECONDS)
    assert source.problem() is None
    assert source.keys.age_seconds == 0
    assert [line["event"] for line in logs] == ["jwks.unavailable", "jwks.fetched"]
    assert "10.0.0.1" not in str(logs)


async def test_known_keys_last_24_hours_through_an_outage(source: Source) -> None:
    """Then they are too old to vouch for anybody; the first good fetch brings them back."""
    await source.tick()
    source.endpoint.error = OSError()
    await source.tick(KEPT_SECONDS)
    assert source.knows("old")

    await source.tick(1)
    assert not source.knows("old")
    source.endpoint.error = None
    await source.tick(RETRY_SECONDS)
    assert source.knows("old")


async def test_the_gateway_starts_with_the_endpoint_down(source: Source) -> None:
    """There is no key, the problem says so, and the first good fetch mends it."""
    source.endpoint.error = OSError()
    await source.tick()
    assert not source.knows("old")
    assert source.keys.age_seconds is None
    assert source.problem() == "its keys cannot be fetched"

    source.endpoint.error = None
    await source.tick(RETRY_SECONDS)
    assert source.knows("old")
    assert source.problem() is None
