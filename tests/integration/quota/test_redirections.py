"""Redirections and maps of a cluster that lies: no connection is made to any place that the map does not name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.clock import SystemClock
from gateway.quota.gate import QuotaGate
from gateway.quota.link import link_to
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.conditions import eventually
from tests.support.lying_store import LyingStore, lying_store, packed, with_echo
from tests.support.quota import PATIENCE, tenant

WHO = tenant(concurrency=9)


@contextlib.asynccontextmanager
async def gate_over(store: LyingStore) -> AsyncIterator[QuotaGate]:
    """A gate on a cluster with this node."""
    link = link_to(f"valkey://{store.place},{store.place}")
    gate = QuotaGate(ValkeyQuotaStore(link), clock=SystemClock(), budget_seconds=PATIENCE, probe_seconds=0.02)
    try:
        yield gate
    finally:
        await gate.aclose()


async def test_a_redirection_goes_nowhere_that_the_map_does_not_name() -> None:
    """A node says MOVED or ASK to a host of its choice: no connection is made there, and the store counts as out."""

    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        strangers.append(writer.get_extra_info("peername"))
        writer.close()

    strangers: list[object] = []
    stranger = await asyncio.start_server(nobody, "127.0.0.1", 0)
    port = stranger.sockets[0].getsockname()[1]
    for kind in ("MOVED", "ASK"):

        def answer(command: list[bytes], kind: str = kind) -> bytes:
            if command[0] == b"CLUSTER":
                host, known = store.place.split(":")
                return packed([0, 16383, [host.encode(), int(known), b"id"]])
            return f"-{kind} 5 127.0.0.1:{port}\r\n".encode()

        async with lying_store(answer) as store, gate_over(store) as gate:
            assert (await gate.admit(WHO)).degraded
            assert gate.degraded
    assert strangers == []
    stranger.close()


async def test_a_redirection_to_a_node_of_the_map_is_followed() -> None:
    """Also to one that joined since the map was read: it is asked for again first."""
    async with lying_store(with_echo(b"ok", b"b1", 0, 0)) as new:
        host = new.place.split(":")[0]
        joined = False

        def answer(command: list[bytes]) -> bytes:
            nonlocal joined
            if command[0] != b"CLUSTER":
                joined = True
                return f"-MOVED 5 {new.place}\r\n".encode()
            place = new.place if joined else old.place
            return packed([0, 16383, [host.encode(), int(place.split(":")[1])]])

        async with lying_store(answer) as old, gate_over(old) as gate:
            admission = await gate.admit(WHO)
            assert not admission.degraded


async def test_a_node_that_left_the_map_is_left() -> None:
    """Its connection is closed, so that a cluster whose nodes come and go leaves none behind."""
    async with lying_store(with_echo(b"ok", b"b1", 0, 0)) as first, lying_store(first.answer) as second:
        place = first

        def answer(command: list[bytes]) -> bytes:
            host, port = place.place.split(":")
            return packed([0, 16383, [host.encode(), int(port)]])

        async with lying_store(answer) as seed:
            link = link_to(f"valkey://{seed.place},{seed.place}")
            await link.warm(PATIENCE)
            assert first.connections == 1
            place = second
            nodes = link._nodes
            nodes._map = []  # type: ignore[attr-defined]
            await link.warm(PATIENCE)
            assert second.connections == 1
            await eventually(lambda: not first._served, "the first is left")
            link.disconnect()
