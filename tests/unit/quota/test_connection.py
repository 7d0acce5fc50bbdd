"""Replies on one connection: each goes to the command that it answers, or to none."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.quota.connection import Connection, Lost
from gateway.quota.store import OutageCause, StoreUnavailable
from tests.support.lying_store import packed


class Wire:
    """A transport that keeps nothing."""

    def write(self, data: bytes) -> None:
        """Takes it."""

    def abort(self) -> None:
        """Ends."""


@pytest.fixture
async def connection() -> Connection:
    made = Connection()
    made.connection_made(cast("asyncio.Transport", Wire()))
    return made


async def test_replies_go_to_the_commands_in_order(connection: Connection) -> None:
    """However many come at once."""
    waiting = [connection.send(b"x", echo) for echo in (b"a", b"b")]
    connection.data_received(packed(b"a", 1) + packed(b"b", 2))
    assert [await one for one in waiting] == [[b"a", 1], [b"b", 2]]


async def test_a_reply_behind_one_that_was_lost_is_not_taken_for_it(connection: Connection) -> None:
    """The first command timed out and its reply never comes: the second one's reply shows that, and answers nobody."""
    first, second = connection.send(b"x", b"a"), connection.send(b"x", b"b")
    first.set_exception(StoreUnavailable(OutageCause.TIMEOUT))
    connection.data_received(packed(b"b", b"ok"))
    assert second.done()
    with pytest.raises(Lost) as lost:
        await second
    assert (lost.value.cause, connection.closed) == (OutageCause.TIMEOUT, True)
    with pytest.raises(StoreUnavailable):
        await first


@pytest.mark.parametrize("reply", [packed(b"b", b"ok"), packed(), b"+OK\r\n", b":1\r\n", b"$-1\r\n"])
async def test_a_reply_without_the_echo_answers_nobody(connection: Connection, reply: Any) -> None:
    """It ends the connection, since no later reply on it can be trusted."""
    waiting = connection.send(b"x", b"a")
    connection.data_received(reply)
    assert waiting.done()
    with pytest.raises(Lost) as lost:
        await waiting
    assert (lost.value.cause, connection.closed) == (OutageCause.MALFORMED, True)


async def test_a_reply_to_no_command_ends_the_connection(connection: Connection) -> None:
    """The next command would take it for its own."""
    connection.data_received(b"+OK\r\n")
    assert connection.closed
