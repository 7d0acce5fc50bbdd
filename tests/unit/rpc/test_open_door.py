"""What strangers may send: small messages, a few at a time, and none of them for long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from grpc import StatusCode

from gateway.rpc import open_door as module
from gateway.rpc.open_door import MAX_MESSAGE_BYTES, PLACES, OpenDoor, OpenStreams, Refused, Stream
from gateway.telemetry.catalogue_telemetry import OPEN_CALLS
from gateway.telemetry.instruments import Counter
from gateway.telemetry.refusal_kinds import RefusalKind
from gateway.telemetry.refusals import Refusals
from tests.support.call_context import CallContext
from tests.support.clock import ManualClock


class Peer(CallContext):
    """A call from one connection."""

    def __init__(self, peer: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._peer = peer

    def peer(self) -> str:
        return self._peer


def stream(peer: str = "ipv4:127.0.0.1:1", **settings: Any) -> Stream:
    return cast("Stream", Peer(peer, **settings))


@pytest.fixture
async def door() -> OpenDoor:
    return OpenDoor(Refusals(ManualClock()), Counter(OPEN_CALLS))


@pytest.fixture
def stalled() -> Iterator[list[asyncio.Task[Any]]]:
    tasks: list[asyncio.Task[Any]] = []
    yield tasks
    for task in tasks:
        task.cancel()


async def test_a_small_message_is_read(door: OpenDoor) -> None:
    assert await door.read(stream(message=b"name")) == b"name"
    assert await door.read(stream(eof=True)) is None


async def test_a_large_message_is_refused(door: OpenDoor) -> None:
    with pytest.raises(Refused) as refused:
        await door.read(stream(message=bytes(MAX_MESSAGE_BYTES + 1)))
    assert refused.value.kind is RefusalKind.OPEN_MESSAGE_TOO_LARGE


async def test_a_message_that_never_comes_is_given_up(door: OpenDoor) -> None:
    with pytest.raises(Refused) as refused:
        await door.read(stream(message=None), seconds=0.01)
    assert refused.value.kind is RefusalKind.BODY_LATE
    assert refused.value.code is StatusCode.DEADLINE_EXCEEDED


async def test_a_newcomer_takes_the_place_of_the_one_that_takes_longest(
    door: OpenDoor, stalled: list[asyncio.Task[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
    stalled += [asyncio.create_task(door.read(stream(message=None))) for _ in range(PLACES)]
    await asyncio.sleep(0)
    assert await door.read(stream(message=b"name")) == b"name"
    with pytest.raises(Refused):
        await stalled[0]
    assert not any(task.done() for task in stalled[1:])


async def test_more_at_once_than_there_are_places_are_refused(
    door: OpenDoor, stalled: list[asyncio.Task[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 60.0)
    stalled += [asyncio.create_task(door.read(stream(message=None))) for _ in range(PLACES)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await door.read(stream(message=b"name"))
    assert refused.value.kind is RefusalKind.HEALTH_LIMIT


async def test_a_cancelled_call_stays_cancelled(door: OpenDoor) -> None:
    reading = asyncio.create_task(door.read(stream(message=None)))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


def test_one_connection_may_keep_few_streams_open() -> None:
    streams = OpenStreams(100, 2, RefusalKind.HEALTH_LIMIT)
    with streams.one(stream("a")), streams.one(stream("a")):
        with pytest.raises(Refused), streams.one(stream("a")):
            pass
        with streams.one(stream("b")):
            pass
    with streams.one(stream("a")):
        pass
