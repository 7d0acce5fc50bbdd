"""After an odd answer a connection is not trusted: it rests, or is cut, before another search may use it."""

from __future__ import annotations

import asyncio
import contextlib

import orjson
import pytest

from gateway.errors import GatewayError, ImageRejected
from gateway.model import UNKNOWN_TIME
from gateway.upstream import pool
from tests.support.conditions import eventually
from tests.support.vendor import MATCH, OK, Connection, Vendor, always, found, json_response, response
from tests.support.vendor_client import client, kept, query, trip

BODY = orjson.dumps(found(MATCH))
ANOTHER = json_response(200, found(MATCH | {"person_id": 666}))


@pytest.mark.parametrize(
    "odd",
    [
        json_response(400, {"status": "INVALID_ARGUMENT"}),
        json_response(500, {"status": "INTERNAL_ERROR"}),
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n",
    ],
    ids=["400", "500", "interim", "trailer"],
)
async def test_a_late_second_answer_after_an_odd_one_reaches_nobody(odd: bytes) -> None:
    """The connection rests first; what comes meanwhile cuts it."""

    async def twice(connection: Connection) -> None:
        await connection.request()
        if connection.number == 1:
            await connection.send(odd)
            await asyncio.sleep(0.01)
            await connection.send(ANOTHER)
        else:
            await connection.send(OK)
        await connection.until_gone()

    async with Vendor(twice) as vendor, client(vendor.base_url) as upstream:
        with contextlib.suppress(GatewayError):
            await upstream.search(query(), trip())
        assert not kept(upstream)
        answer = await upstream.search(query(), trip())
        assert answer.matches[0].person_id == MATCH["person_id"]
        await eventually(lambda: vendor.open == 1, "the connection of two answers is gone")


async def test_a_connection_that_was_quiet_after_an_odd_answer_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a tenant's bad photos do not cost a handshake each. Of those that rest there are only so many."""
    monkeypatch.setattr(pool, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(pool, "MAX_RESTING", 2)
    bad = json_response(400, {"status": "INVALID_ARGUMENT"})
    async with Vendor(always(bad)) as vendor, client(vendor.base_url) as upstream:
        searches = [upstream.search(query(), trip()) for _ in range(3)]
        await asyncio.gather(*searches, return_exceptions=True)
        await eventually(lambda: len(kept(upstream)) == 2, "two have rested, the third is cut")
        for _ in range(2):
            with pytest.raises(ImageRejected):
                await upstream.search(query(), trip())
        assert vendor.accepted == 3


async def test_connections_are_for_one_search_without_keep_alive() -> None:
    """Then a second answer to a plain search, however late, is never another search's."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url, keep_alive=False) as upstream:
        for searches in range(1, 6):
            await upstream.search(query(), trip())
            assert vendor.accepted == searches
        assert {one.headers["connection"] for one in vendor.received} == {"close"}


@pytest.mark.parametrize(
    "answer",
    [
        response(200, b"\xef\xbb\xbf" + BODY),
        response(200, BODY, "content-encoding:"),
        response(200, BODY, "Content-Encoding: Identity"),
        response(200, BODY, *(f"x-added-by-a-proxy-{number}: yes" for number in range(400))),
        json_response(200, found(MATCH | {"create_time": None})),
        json_response(200, found(MATCH | {"create_time": 1669077702.0})),
        json_response(200, found(MATCH | {"face_id": "435449455488008194", "person_id": "1"})),
    ],
    ids=["BOM", "empty coding", "identity", "400 headers", "no time", "decimal time", "ids as text"],
)
async def test_an_unusual_answer_that_can_be_read_in_one_way_only(answer: bytes) -> None:
    """It is understood."""
    async with Vendor(always(answer)) as vendor, client(vendor.base_url) as upstream:
        (match,) = (await upstream.search(query(), trip())).matches
    assert (match.person_id, match.face_id) == (MATCH["person_id"], MATCH["face_id"])
    assert match.create_time in (MATCH["create_time"], UNKNOWN_TIME)
