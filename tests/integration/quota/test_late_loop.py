"""A gateway whose event loop stands still for longer than a call may wait for the store: the store is not out."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from gateway.clock import SystemClock
from gateway.quota.gate import QuotaGate
from gateway.quota.link import link_to
from gateway.quota.store import STORE_BUDGET_SECONDS
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.quota import fresh_prefix, tenant
from tests.support.valkey import StoreServer

STALLS, CALLS = 6, 5
STALL_SECONDS = 4 * STORE_BUDGET_SECONDS
SENT, UNSENT = 4, 1
"""Turns of the loop after which the questions are in the socket, or still before it."""


async def degraded_by_stalls(url: str, turns: int) -> int:
    """How many of the calls that were asking while the loop stood still had to do without the store."""
    gate = QuotaGate(ValkeyQuotaStore(link_to(url, prefix=fresh_prefix())), clock=SystemClock(), probe_seconds=0.02)
    who, degraded = tenant(rate=(1e5, 100_000)), 0
    await gate.start()
    try:
        for _ in range(STALLS):
            while gate.degraded or (await gate.admit(who)).degraded:
                await asyncio.sleep(0.01)  # A machine that is busy with other things: this is about the loop alone.
            waiting = asyncio.gather(*(gate.admit(who) for _ in range(CALLS)))
            for _ in range(turns):
                await asyncio.sleep(0)
            time.sleep(STALL_SECONDS)  # noqa: ASYNC251 - the fault under test
            degraded += sum(admission.degraded for admission in await waiting)
    finally:
        await gate.aclose()
    return degraded


def run_on(loop: str, url: str, turns: int) -> int:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(degraded_by_stalls(url, turns))


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_replies_that_lie_in_the_socket_count(server: StoreServer, loop: str) -> None:
    """They came in time; that they are read late is no fault of the store, whichever the loop runs first."""
    assert run_on(loop, server.url, SENT) == 0


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_questions_that_could_not_be_sent_have_their_time(server: StoreServer, loop: str) -> None:
    """They wait some milliseconds after the stall, which is plenty unless the store's processor is taken just then."""
    assert run_on(loop, server.url, UNSENT) <= STALLS * CALLS / 2
