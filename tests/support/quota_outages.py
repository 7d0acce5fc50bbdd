"""Gates on a real store behind a proxy that misbehaves: what the tests of outages share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gateway.clock import SystemClock
from gateway.errors import GatewayError, QuotaUnavailable
from gateway.model import Tenant, Window
from gateway.quota.gate import OutagePolicy, QuotaGate
from gateway.quota.link import link_to
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.conditions import eventually
from tests.support.flaky_proxy import FlakyProxy
from tests.support.lateness import Lateness, lateness
from tests.support.quota import PATIENCE
from tests.support.valkey import StoreServer


@dataclass
class Setup:
    """A store, the proxy in front of it, and the gates behind; `changes` is what they told of outages."""

    server: StoreServer
    proxy: FlakyProxy
    prefix: str
    gates: list[QuotaGate] = field(default_factory=list)
    changes: list[bool] = field(default_factory=list)

    async def gate(
        self,
        policy: str = "share",
        replicas: int = 1,
        *,
        budget_seconds: float = PATIENCE,
        database: int = 0,
        past_proxy: bool = False,
    ) -> QuotaGate:
        """A started gate. A test that is not about the budget has patience, so that a busy machine decides nothing."""
        place = f"{self.server.host}:{self.server.port}" if past_proxy else self.proxy.address
        gate = QuotaGate(
            ValkeyQuotaStore(link_to(f"valkey://{place}/{database}", prefix=self.prefix)),
            clock=SystemClock(),
            policy=OutagePolicy(policy),
            expected_replicas=replicas,
            on_outage=self.changes.append,
            budget_seconds=budget_seconds,
            probe_seconds=0.05,
        )
        self.gates.append(gate)
        await gate.start()
        return gate

    async def with_history(self, gate: QuotaGate, who: Tenant, count: int) -> Tenant:
        """A tenant like `who` that made `count` calls, all of which the store answered in time."""
        for attempt in range(20):
            same = replace(who, id=f"{who.id}{attempt}")
            await eventually(lambda: not gate.degraded, "the store is there")
            if (await calls(gate, same, count)).degraded == 0:
                self.changes.clear()
                return same
        raise AssertionError("the machine is too busy for any figure")

    async def used(self, who: Tenant) -> int:
        """What the store itself counts for the day, past the proxy."""
        store = ValkeyQuotaStore(link_to(self.server.url, prefix=self.prefix))
        try:
            return (await store.look(who.id, who.limits, PATIENCE)).counts[Window.DAY].used
        finally:
            await store.aclose()


@dataclass
class Tally:
    """What became of calls; `slowest` is the longest of them, less what the event loop was late."""

    admitted: int = 0
    degraded: int = 0
    refused: int = 0
    unavailable: int = 0
    slowest: float = 0.0


async def search(gate: QuotaGate, who: Tenant, tally: Tally, late: Lateness | None = None) -> None:
    """One call: admitted, reserved, settled, released; its waits for the store are measured."""
    late = late or Lateness()
    late_before, began = late.seconds, time.perf_counter()
    try:
        with await gate.admit(who) as admission:
            reservation = await admission.reserve()
            tally.admitted += 1
            tally.degraded += reservation.degraded
            reservation.settle()
    except QuotaUnavailable:
        tally.unavailable += 1
    except GatewayError:
        tally.refused += 1
    seconds = time.perf_counter() - began
    # A wait that ends while the loop is late is looked at again a little later, so lateness counts more than once.
    tally.slowest = max(tally.slowest, seconds - 3 * (await late.settled() - late_before))


async def calls(gate: QuotaGate, who: Tenant, count: int) -> Tally:
    """So many calls, one after the other."""
    tally = Tally()
    async with lateness() as late:
        for _ in range(count):
            await search(gate, who, tally, late)
    return tally


Fault = Callable[[Setup], None]
"""Puts the store out in one way; `heal` ends any."""


def killed(setup: Setup) -> None:
    setup.server.kill()


def paused(setup: Setup) -> None:
    setup.server.pause()


def blackholed(setup: Setup) -> None:
    setup.proxy.blackhole = True


def readonly(setup: Setup) -> None:
    setup.server.command("REPLICAOF", "127.0.0.1", 1)


def out_of_memory(setup: Setup) -> None:
    setup.server.command("CONFIG", "SET", "maxmemory", "1")


def garbage(setup: Setup) -> None:
    setup.proxy.answer = b"\x00\xff nonsense\r\n"


def reset(setup: Setup) -> None:
    setup.proxy.refuse = True
    setup.proxy.reset()


def slow(setup: Setup) -> None:
    setup.proxy.delay_seconds = 0.2


FAULTS: list[Fault] = [killed, paused, blackholed, readonly, out_of_memory, garbage, reset, slow]


def heal(setup: Setup) -> None:
    """Whatever the fault was."""
    setup.proxy.blackhole = setup.proxy.refuse = False
    setup.proxy.answer = None
    setup.proxy.delay_seconds = 0.0
    if not setup.server.running:
        setup.server.start()
    setup.server.resume()
    setup.server.command("REPLICAOF", "NO", "ONE")
    setup.server.command("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def always_resumed(setup: Setup) -> Iterator[None]:
    """Heals at the end, also of a failed test: a paused server would stay."""
    try:
        yield
    finally:
        heal(setup)


async def eventually_used(setup: Setup, who: Tenant, expected: int) -> None:
    """The store counts so many soon."""
    deadline = time.monotonic() + 30.0
    while (used := await setup.used(who)) != expected and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert used == expected


async def search_repeatedly(gate: QuotaGate, who: Tenant, tally: Tally, count: int) -> None:
    """As `calls`, into a tally that others add to."""
    for _ in range(count):
        await search(gate, who, tally)
