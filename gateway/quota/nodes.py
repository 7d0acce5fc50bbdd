"""Which server holds a key: the one that there is, or a cluster's by the key's hash slot.

Between `link.py` and the lanes. A cluster's map is asked of any node that answers, and again when a node says MOVED.
"""

from __future__ import annotations

import asyncio
import binascii
import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

from gateway.quota.lane import Address, Lane, pack
from gateway.quota.store import OutageCause, StoreUnavailable

_SLOTS = 16384
_CLUSTER_SLOTS = pack("CLUSTER", "SLOTS")


class Nodes(Protocol):
    """The servers behind one URL."""

    async def lane(self, tag: bytes, due: float) -> Lane:
        """The lane to the server that holds keys with the hash tag `tag`."""
        ...

    async def lanes(self, due: float) -> Sequence[Lane]:
        """The lanes to every server that holds keys."""
        ...

    def lane_at(self, place: str) -> Lane:
        """The lane to `host:port`, as a node named it in a redirection."""
        ...

    def moved(self) -> None:
        """A key was not where the map had it."""
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

    def lane_at(self, place: str) -> Lane:
        """A redirection means that the server is a cluster's node: the URL has to say so."""
        raise StoreUnavailable(OutageCause.REFUSED)

    def moved(self) -> None:
        """See `lane_at`."""

    def disconnect(self) -> None:
        """See `Nodes.disconnect`."""
        self._lane.disconnect()


class ClusterNodes:
    """A cluster, found by any of its `seeds`."""

    def __init__(self, seeds: Sequence[Address]) -> None:
        self._seeds = seeds
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._map: list[tuple[int, int, Lane]] = []
        self._mapping = asyncio.Lock()

    async def lane(self, tag: bytes, due: float) -> Lane:
        """See `Nodes.lane`."""
        slot = binascii.crc_hqx(tag, 0) % _SLOTS
        for first, last, lane in await self._mapped(due):
            if first <= slot <= last:
                return lane
        self._map = []
        raise StoreUnavailable(OutageCause.REFUSED)

    async def lanes(self, due: float) -> Sequence[Lane]:
        """See `Nodes.lanes`."""
        return tuple(dict.fromkeys(lane for _, _, lane in await self._mapped(due)))

    async def _mapped(self, due: float) -> list[tuple[int, int, Lane]]:
        if not self._map:
            async with self._mapping:
                if not self._map:
                    self._map = await self._ask(due)
        return self._map

    async def _ask(self, due: float) -> list[tuple[int, int, Lane]]:
        """The map, from the first node that has it. A node that is silent gets half of the time, and is asked last then."""
        loop = asyncio.get_running_loop()
        failure = StoreUnavailable(OutageCause.TIMEOUT)
        for seed in self._seeds:
            self._lane(seed.host, seed.port)
        for place, lane in list(self._lanes.items()):
            now = loop.time()
            if now >= due:
                break
            try:
                reply = await lane.call(_CLUSTER_SLOTS, now + (due - now) / 2)
                return [self._entry(one, lane) for one in reply]
            except StoreUnavailable as error:
                failure = error
            except (TypeError, ValueError, AttributeError):  # An error, or no map: not a cluster, or not ready.
                failure = StoreUnavailable(OutageCause.REFUSED)
            self._lanes[place] = self._lanes.pop(place)
        raise failure

    def _entry(self, one: Any, asked: Lane) -> tuple[int, int, Lane]:
        first, last, (host, port, *_), *_ = one
        # An empty host means the one that was asked.
        return int(first), int(last), self._lane(host.decode() or asked.address.host, int(port))

    def lane_at(self, place: str) -> Lane:
        """See `Nodes.lane_at`."""
        host, _, port = place.rpartition(":")
        return self._lane(host, int(port))

    def _lane(self, host: str, port: int) -> Lane:
        lane = self._lanes.get((host, port))
        if lane is None:
            lane = self._lanes[host, port] = Lane(dataclasses.replace(self._seeds[0], host=host, port=port))
        return lane

    def moved(self) -> None:
        """See `Nodes.moved`."""
        self._map = []

    def disconnect(self) -> None:
        """See `Nodes.disconnect`."""
        self._map = []
        for lane in self._lanes.values():
            lane.disconnect()
