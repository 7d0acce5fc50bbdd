"""Connections are kept between searches, and a kept one is never the reason that a search fails or lies."""

from __future__ import annotations

import asyncio
import random
import socket
import threading

import pytest

from gateway.cache.flights import Flights, wait
from gateway.errors import UpstreamUnavailable
from gateway.model import Outcome, UpstreamAnswer
from gateway.upstream.connection import Connection as Idle
from tests.support.conditions import eventually
from tests.support.vendor import MATCH, OK, Connection, Vendor, always, found, json_response
from tests.support.vendor_client import client, kept, query, trip

ANOTHER = json_response(200, found(MATCH | {"person_id": 666}))


async def test_a_connection_serves_many_searches() -> None:
    """Searches one after the other use one connection."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        for _ in range(20):
            await upstream.search(query(), trip())
        assert vendor.accepted == 1


async def test_a_connection_closed_between_searches_is_replaced() -> None:
    """A server may close an idle connection at any time; the next search takes a new one, and is one request."""

    async def once(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)

    async with Vendor(once) as vendor, client(vendor.base_url) as upstream:
        for _ in range(5):
            who = trip()
            assert (await upstream.search(query(), who)).outcome is Outcome.MATCHED
            assert who.attempts == 1
            await eventually(lambda: not any(one.is_silent for one in kept(upstream)), "the close has arrived")
    assert len(vendor.received) == 5


async def test_a_close_that_crosses_the_request_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor closed before it had a byte of the request, but that was not seen yet: the search is sent once more.

    Over a new connection: where one kept connection was stale, others are, even if it does not show yet.
    """
    monkeypatch.setattr(Idle, "is_silent", True)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30.0)
    answered, close, closed = threading.Event(), threading.Event(), threading.Event()
    requests: list[int] = []

    def answer(peer: socket.socket) -> None:
        while b"--\r\n" not in peer.recv(65536):
            pass
        requests.append(len(requests))
        peer.sendall(OK)

    def serve() -> None:
        other, last = (listener.accept()[0] for _ in range(2))
        with other:
            with last:
                answer(other)
                assert answered.wait(30.0)
                answer(last)
                assert close.wait(30.0)
            closed.set()
            peer, _ = listener.accept()
            with peer:
                answer(peer)

    thread = threading.Thread(target=serve)
    thread.start()
    async with client(f"http://127.0.0.1:{listener.getsockname()[1]}") as upstream:
        searches = [asyncio.create_task(upstream.search(query(), trip())) for _ in range(2)]
        await asyncio.wait(searches, return_when=asyncio.FIRST_COMPLETED)
        answered.set()
        await asyncio.gather(*searches)
        close.set()
        # The loop stands still meanwhile, as it does in a busy moment.
        assert closed.wait(30.0)
        who = trip()
        assert (await upstream.search(query(), who)).outcome is Outcome.MATCHED
        assert who.attempts == 2, "both requests left, and count"
    await asyncio.to_thread(thread.join)
    listener.close()
    assert requests == [0, 1, 2]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_request_that_was_read_is_not_sent_again(reset: bool) -> None:
    """A vendor that reads a whole request on a kept connection and hangs up may have done the work, which it bills."""

    async def hang_up(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await connection.request()
        if reset:
            connection.reset()

    async with Vendor(hang_up) as vendor, client(vendor.base_url) as upstream:
        for searches in range(1, 11):
            who = trip()
            if searches % 2:
                await upstream.search(query(), who)
            else:
                with pytest.raises(UpstreamUnavailable) as caught:
                    await upstream.search(query(), who)
                assert caught.value.attempts == 1
            assert who.attempts == 1
            assert len(vendor.received) == searches


async def test_a_request_that_had_not_left_is_sent_again() -> None:
    """A kept connection that ends amid an image: the vendor cannot have searched a part of one."""

    async def stale(connection: Connection) -> None:
        connection.take_little()
        await connection.request()
        await connection.send(OK)
        if connection.number == 1:
            await connection.reader.readuntil(b"\r\n\r\n")
        else:
            await connection.until_gone()

    async with Vendor(stale) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
        who = trip()
        assert (await upstream.search(query(b"\xff" * 5_242_880), who)).outcome is Outcome.MATCHED
        assert who.attempts == 2
        assert [one.connection for one in vendor.received] == [1, 2]


async def test_a_new_connection_that_dies_is_not_tried_again() -> None:
    """Only a kept connection can be stale; a vendor that hangs up on a new one has seen the search."""

    async def hang_up(connection: Connection) -> None:
        connection.take_little()
        await connection.reader.readuntil(b"\r\n\r\n")

    async with Vendor(hang_up) as vendor, client(vendor.base_url) as upstream:
        for image in (b"small", b"\xff" * 5_242_880):
            with pytest.raises(UpstreamUnavailable):
                await upstream.search(query(image), trip())
        assert vendor.accepted == 2


async def test_an_answer_that_nobody_asked_for_is_not_taken() -> None:
    """Bytes that come on an idle connection must not become the answer to the next search, of another tenant."""
    idle, sent = asyncio.Event(), asyncio.Event()

    async def talkative(connection: Connection) -> None:
        await connection.request()
        await connection.send(OK)
        await idle.wait()
        await connection.send(ANOTHER)
        sent.set()
        await connection.request()
        await connection.send(OK)

    async with Vendor(talkative) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
        idle.set()
        await sent.wait()
        assert (await upstream.search(query(), trip())).matches[0].person_id == MATCH["person_id"]
        assert vendor.accepted == 2


async def test_two_answers_at_once_end_the_connection() -> None:
    """A second answer behind the first is thrown away together with its connection."""
    async with Vendor(always(OK + ANOTHER)) as vendor, client(vendor.base_url) as upstream:
        for _ in range(3):
            assert (await upstream.search(query(), trip())).matches[0].person_id == MATCH["person_id"]
        assert vendor.accepted == 3


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_callers_that_give_up_leave_nothing_behind() -> None:
    """2,000 searches, half of the callers gone at random, then 200 good ones: no task, connection or slot is left."""

    async def moody(connection: Connection) -> None:
        while True:
            await connection.request()
            await asyncio.sleep(random.random() * 0.004)
            await connection.send(OK)

    flights: Flights[UpstreamAnswer] = Flights()
    async with Vendor(moody) as vendor, client(vendor.base_url, max_connections=100) as upstream:

        async def search() -> UpstreamAnswer:
            flight = flights.start(None, lambda: upstream.search(query(b"x" * 2000), trip()))
            return await wait(flight, 30.0)

        tasks = asyncio.all_tasks()
        for _ in range(2000 // 50):
            callers = [asyncio.create_task(search()) for _ in range(50)]
            await asyncio.sleep(random.random() * 0.004)
            for caller in random.sample(callers, 25):
                caller.cancel()
            outcomes = await asyncio.gather(*callers, return_exceptions=True)
            assert all(isinstance(outcome, UpstreamAnswer | asyncio.CancelledError) for outcome in outcomes)
        answers = [await search() for _ in range(200)]
        assert {answer.outcome for answer in answers} == {Outcome.MATCHED}
        await eventually(lambda: len(flights) == 0, "no flight is left")
        assert upstream._slots.in_use == 0
        assert vendor.accepted <= 100
    await eventually(lambda: asyncio.all_tasks() <= tasks, "no task is left")


async def test_searches_that_are_cancelled_themselves_leave_nothing_behind() -> None:
    """At shutdown searches are cancelled at any point of theirs; slots and connections come back all the same."""

    async def moody(connection: Connection) -> None:
        while True:
            await connection.request()
            await asyncio.sleep(random.random() * 0.004)
            await connection.send(OK)

    async with Vendor(moody) as vendor, client(vendor.base_url, max_connections=8) as upstream:
        for _ in range(50):
            searches = [asyncio.create_task(upstream.search(query(b"x" * 200_000), trip())) for _ in range(8)]
            await asyncio.sleep(random.random() * 0.006)
            for search in random.sample(searches, 4):
                search.cancel()
            await asyncio.gather(*searches, return_exceptions=True)
        assert upstream._slots.in_use == 0
        # With a slot lost one of them would be refused.
        await asyncio.gather(*(upstream.search(query(), trip()) for _ in range(8)))
        await eventually(lambda: vendor.open <= 8, "cancelled searches took their connections with them")
