"""Which server holds a key: the only one, or a cluster's by the key's hash slot.

Between `link.py` and the lanes. A cluster's map is asked of any node that answers, and again when a node says MOVED. No
connection goes anywhere but to the places of the map and to those that the configuration names.
"""

from __future__ import annotations

import asyncio
import binascii
import dataclasses
from collections.abc import Sequence
from typing import Protocol

from gateway.quota.cluster_map import MAP_BYTES, SLOTS, NotAMap, Place, SlotRange, read_map, read_place
from gateway.quota.lane import Address, Lane, pack
from gateway.quota.store import OutageCause, StoreUnavailable

_CLUSTER_SLOTS = pack("CLUSTER", "SLOTS")


class Nodes(Protocol):
    """The servers behind one URL. Every method raises `StoreUnavailable`, and nothing else."""

    async def lane(self, tag: bytes, due: float) -> Lane:
        """The lane to the server that holds keys with the hash tag `tag`."""
        ...

    async def lanes(self, due: float) -> Sequence[Lane]:
        """The lanes to every server that holds keys."""
        ...

    async def redirected(self, place: str, tag: bytes, by: Lane, due: float, *, moved: bool) -> Lane:
        """The lane to `host:port`, as the node of `by` named it for `tag`; `moved`: for good."""
        ...

    def disconnect(self) -> None:
        """Gives every connection up."""
        ...


class SingleNode:
    """One server."""

    def __init__(self, address: Address) -> None:
        self._lane = Lane(address)

    async def lane(self, tag: bytes, due: float) -> Lane:
        """See `Nodes.lane`."""
        return self._lane

    async def lanes(self, due: float) -> Sequence[Lane]:
        """See `Nodes.lanes`."""
        return (self._lane,)

    async def redirected(self, place: str, tag: bytes, by: Lane, due: float, *, moved: bool) -> Lane:
        """A redirection means that the server is a cluster's node: the URL has to say so."""
        raise StoreUnavailable(OutageCause.REFUSED)

    def disconnect(self) -> None:
        """See `Nodes.disconnect`."""
        self._lane.disconnect()


class ClusterNodes:
    """A cluster, found by any of its `seeds`."""

    def __init__(self, seeds: Sequence[Address]) -> None:
        self._seeds = {(seed.host, seed.port): Lane(seed) for seed in seeds}
        self._address = seeds[0]
        self._lanes: dict[Place, Lane] = dict(self._seeds)
        self._map: list[SlotRange] = []
        self._mapping = asyncio.Lock()

    async def lane(self, tag: bytes, due: float) -> Lane:
        """See `Nodes.lane`."""
        await self._mapped(due)
        place = self._place(tag)
        if place is None:
            self._map = []
            raise StoreUnavailable(OutageCause.REFUSED)
        return self._lanes[place]

    def _place(self, tag: bytes) -> Place | None:
        slot = binascii.crc_hqx(tag, 0) % SLOTS
        for first, last, place in self._map:
            if first <= slot <= last:
                return place
        return None

    async def lanes(self, due: float) -> Sequence[Lane]:
        """See `Nodes.lanes`."""
        return tuple({self._lanes[one.place]: None for one in await self._mapped(due)})

    async def redirected(self, place: str, tag: bytes, by: Lane, due: float, *, moved: bool) -> Lane:
        """See `Nodes.redirected`. Before a place is refused the map is asked again: the node may be new."""
        named = read_place(place, by.address.host)
        if named is None:
            raise StoreUnavailable(OutageCause.MALFORMED)
        if moved and self._place(tag) != named:
            self._map = []
        if named not in self._lanes:
            self._map = []
            await self._mapped(due)
        lane = self._lanes.get(named)
        if lane is None:
            raise StoreUnavailable(OutageCause.REFUSED)
        return lane

    async def _mapped(self, due: float) -> list[SlotRange]:
        """The map. It is in force until the caller's next `await`."""
        if not self._map:
            async with self._mapping:
                if not self._map:
                    self._map = await self._ask(due)
                    self._keep({one.place for one in self._map})
        return self._map

    def _keep(self, places: set[Place]) -> None:
        """A lane for each place of the map and each seed, and for no other."""
        for place in places - self._lanes.keys():
            self._lanes[place] = Lane(dataclasses.replace(self._address, host=place[0], port=place[1]))
        for place in self._lanes.keys() - places - self._seeds.keys():
            self._lanes.pop(place).disconnect()

    async def _ask(self, due: float) -> list[SlotRange]:
        """The map, from the first node that has it. A silent node gets half of the time, and is asked last from then on."""
        loop = asyncio.get_running_loop()
        failure = StoreUnavailable(OutageCause.TIMEOUT)
        for place, lane in list(self._lanes.items()):
            now = loop.time()
            if now >= due:
                break
            try:
                reply = await lane.call(_CLUSTER_SLOTS, now + (due - now) / 2, limit=MAP_BYTES)
                return read_map(reply, lane.address.host)
            except StoreUnavailable as error:
                failure = error
            except NotAMap:  # An error, or no map: not a cluster, or not ready.
                failure = StoreUnavailable(OutageCause.REFUSED)
            self._lanes[place] = self._lanes.pop(place)
        raise failure

    def disconnect(self) -> None:
        """See `Nodes.disconnect`."""
        self._map = []
        for lane in self._lanes.values():
            lane.disconnect()
