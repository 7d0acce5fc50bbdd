"""A store that lost its memory, and replicas that say one after the other what they know: nothing is lost between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from gateway.model import Window
from gateway.quota.link import link_to
from gateway.quota.store import Charge, Count
from gateway.quota.valkey import ValkeyQuotaStore
from tests.support.quota import PATIENCE, HandClock, fresh_prefix, tenant
from tests.support.valkey import StoreServer, running_store

LIMITS = tenant(day=1000).limits


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with running_store() as store:
        yield store


class Replicas:
    """Three on one store; the second saw 3 charges that the first did not."""

    def __init__(self, url: str) -> None:
        self.clock, self.prefix = HandClock(), fresh_prefix()
        self.url = url
        self.stores = [self.open() for _ in range(3)]
        self.numbers = itertools.count()

    def open(self) -> ValkeyQuotaStore:
        link = link_to(self.url, prefix=self.prefix)
        return ValkeyQuotaStore(link, time_us=self.clock.now_us, monotonic=self.clock.monotonic)

    async def reserve(self, replica: int, count: int) -> None:
        for _ in range(count):
            verdict = await self.stores[replica].reserve("t", LIMITS, f"r{next(self.numbers)}", PATIENCE)
            assert verdict.limit_id == ""

    async def write_back(self, replica: int, count: int) -> None:
        end = (await self.stores[0].look("t", LIMITS, PATIENCE)).counts[Window.DAY].end_us
        charges = [Charge(f"w{next(self.numbers)}", {Window.DAY: end}) for _ in range(count)]
        await self.stores[replica].charge("t", charges, PATIENCE)

    async def lose(self, server: StoreServer) -> None:
        server.command("FLUSHALL")

    async def used(self) -> int:
        store = self.open()
        used = (await store.look("t", LIMITS, PATIENCE)).counts[Window.DAY].used
        await store.aclose()
        return used

    async def close(self) -> None:
        for store in self.stores:
            await store.aclose()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("how", ["write_back", "reserve"])
async def test_what_was_charged_since_the_loss_is_added_to_what_was_known_before(
    server: StoreServer, order: tuple[int, ...], how: str
) -> None:
    """The highest count that anybody saw, and each replica's charges since: whoever comes first.

    A maximum of both would let the charges of the first vanish in what the second knows.
    """
    replicas = Replicas(server.url)
    await replicas.reserve(0, 10)
    await replicas.reserve(2, 5)
    await replicas.reserve(1, 3)
    before = 18
    await replicas.lose(server)
    for replica in order:
        await replicas.stores[replica].recover(PATIENCE)
        if how == "reserve":
            await replicas.reserve(replica, 4)
        else:
            await replicas.write_back(replica, 4)
    assert await replicas.used() == before + 12
    await replicas.close()


async def test_a_look_at_a_state_that_began_again_is_no_memory_of_the_old_one(server: StoreServer) -> None:
    """A replica that looks before it has said what it knows must not take the new counts for old ones."""
    replicas = Replicas(server.url)
    await replicas.reserve(0, 10)
    await replicas.reserve(1, 1)
    await replicas.lose(server)
    await replicas.stores[1].recover(PATIENCE)
    await replicas.reserve(1, 20)
    await replicas.stores[0].look("t", LIMITS, PATIENCE)
    await replicas.reserve(0, 1)
    assert await replicas.used() == 11 + 20 + 1
    await replicas.close()


async def test_a_window_that_began_since_owes_nothing_of_the_one_before(server: StoreServer) -> None:
    """What was known before the loss is a count of its own window alone."""
    replicas = Replicas(server.url)
    await replicas.reserve(0, 10)
    await replicas.reserve(1, 1)
    await replicas.lose(server)
    await replicas.stores[0].recover(PATIENCE)
    replicas.clock.advance(86_400)
    await replicas.reserve(0, 2)
    await replicas.stores[1].recover(PATIENCE)
    assert await replicas.used() == 2
    await replicas.close()


async def test_the_base_of_a_window_is_not_that_of_the_next(server: StoreServer) -> None:
    """A replica that saw the window of today says so to a state whose loss was yesterday."""
    replicas = Replicas(server.url)
    await replicas.reserve(0, 10)
    await replicas.lose(server)
    await replicas.stores[0].recover(PATIENCE)
    replicas.clock.advance(86_400)
    await replicas.reserve(0, 2)
    today = (await replicas.stores[0].look("t", LIMITS, PATIENCE)).counts[Window.DAY].end_us
    known = replicas.stores[1]._known("t")
    known.born, known.seen = "another", {"day": Count(3, today)}
    await replicas.stores[1].recover(PATIENCE)
    assert await replicas.used() == 3 + 2
    await replicas.close()
