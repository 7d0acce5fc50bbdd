"""Load that does not wait for answers: searches that come at a pace, as those of many independent callers do.

A closed loop slows down with the server and so never overloads it. `offer` runs in a process of its own (see
`attack_process.py`). A search that no connection has a stream for waits at the caller, as with any gRPC client; its time
counts from the moment at which it should have been sent.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter, deque
from typing import Any

from bench.requests import Requests
from tests.support import frames
from tests.support.attack_process import Attack
from tests.support.raw_connection import End, RawConnection

SEARCH = "/facegate.search.v1.FaceSearchService/SearchFace"
_TICK_SECONDS = 0.002


class _Lane:
    """One connection, and the searches that wait for one of its streams."""

    def __init__(self, connection: RawConnection, load: _Load) -> None:
        self.connection = connection
        self._load = load
        self.waiting: deque[float] = deque()
        self._due: dict[int, float] = {}
        connection.on_end = self._ended

    def send(self) -> None:
        """Sends what waits, as far as there are streams."""
        connection, load = self.connection, self._load
        while self.waiting and len(connection.open_streams) < connection.max_streams and not connection.gone.is_set():
            due = self.waiting.popleft()
            self._due[connection.call_with(load.headers, load.body())] = due

    def give_up(self) -> None:
        """Resets the calls whose time is over, as a client does, and drops those that are not even sent."""
        connection, load = self.connection, self._load
        while self.waiting and load.now() - self.waiting[0] > load.deadline_seconds:
            self.waiting.popleft()
            load.counts["late"] += 1
        while self._due:
            stream = next(iter(self._due))
            if load.now() - self._due[stream] <= load.deadline_seconds:
                return
            del self._due[stream]
            connection.reset(stream)
            load.counts["late"] += 1

    def _ended(self, stream: int, end: End) -> None:
        due = self._due.pop(stream, None)
        if due is not None:
            self._load.ended(end, self._load.now() - due)
        self.send()

    def top_up(self, at_once: int) -> None:
        """In a closed loop: as many calls as there should be at once."""
        while len(self.connection.open_streams) + len(self.waiting) < at_once:
            self.waiting.append(self._load.now())
            self._load.offered += 1


class _Load:
    """All lanes together, and what came of the calls."""

    def __init__(self, options: dict[str, Any], authority: str) -> None:
        self.now = asyncio.get_running_loop().time
        self.deadline_seconds = float(options.get("deadline_seconds", 1.0))
        self.per_second = float(options.get("per_second", 0))
        self.at_once = int(options.get("at_once", 0))
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.offered = 0
        metadata = [(str(name), str(value)) for name, value in options.get("metadata", ())]
        if options.get("announced", True):
            metadata.append(("grpc-timeout", f"{round(self.deadline_seconds * 1000)}m"))
        self.headers = frames.request_headers(SEARCH, authority, metadata=metadata)
        self._requests = Requests.of(
            int(options.get("image_bytes", 20_000)), str(options.get("mode", "CACHE_MODE_BYPASS"))
        )
        self._same = None if options.get("distinct", True) else frames.message(self._requests.same)

    def body(self) -> bytes:
        """The next search's message."""
        return self._same or frames.message(self._requests.unlike())

    def ended(self, end: End, seconds: float) -> None:
        """Counts a call by its status, and whether that came with details."""
        if end.status == 0:
            self.counts["OK"] += 1
            self.seconds.append(seconds)
        elif end.status is not None:
            self.counts[f"{end} {'explained' if end.explained else 'bare'}"] += 1
        else:
            self.counts[str(end)] += 1

    def notes(self) -> dict[str, Any]:
        """What came of the calls: `counts` by their end, latencies in seconds of those that were answered."""
        cuts = statistics.quantiles(self.seconds, n=100, method="inclusive") if len(self.seconds) > 1 else None
        return {
            "offered": self.offered,
            "counts": dict(self.counts),
            "p50": cuts[49] if cuts else None,
            "p99": cuts[98] if cuts else None,
        }


async def offer(attack: Attack) -> None:
    """Offers `per_second` searches over `connections` until it is cancelled.

    Options: `at_once` keeps as many in flight on each connection instead, to find out what a server carries; `image_bytes`, `mode` of the cache, whether the images are `distinct`, `metadata`, `deadline_seconds` and
    whether it is `announced` or the caller just gives up then, `seconds`: after that time it only waits for the answers.
    """
    load = _Load(attack.options, attack.address)
    lanes = [_Lane(await attack.connect(), load) for _ in range(int(attack.options.get("connections", 4)))]
    attack.is_on()
    began = load.now()
    seconds = float(attack.options.get("seconds", 3600))
    try:
        while True:
            passed = min(load.now() - began, seconds)
            while load.offered < int(passed * load.per_second):
                lanes[load.offered % len(lanes)].waiting.append(began + load.offered / load.per_second)
                load.offered += 1
            for lane in lanes:
                if passed < seconds:
                    lane.top_up(load.at_once)
                lane.give_up()
                lane.send()
            if passed >= seconds and load.offered == sum(load.counts.values()):
                return
            await asyncio.sleep(_TICK_SECONDS)
    finally:
        attack.notes.update(load.notes())
