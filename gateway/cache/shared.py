"""Sealed records in a store that all replicas share, with a small memory tier in front.

One round trip a lookup, none while the tier in front holds the record. The epochs are one hash, read twice a second;
they are in every key's name, so a replica whose view of them is fresh cannot even address an answer from before a purge,
and one whose view is older than 2 s answers nothing. While the store is out nobody waits for it: only the reading of the
epochs goes on, and finds when it is back. Knows nothing of the client (`valkey.py`) nor of what a record means.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from gateway.cache.epochs import EVERYTHING, EpochView, Scope, parse
from gateway.cache.flights import Flights, wait
from gateway.cache.health import Cause, FaultLog, Health
from gateway.cache.key import CacheKey
from gateway.cache.memory import Records
from gateway.cache.sealing import CLOCK_SKEW_SECONDS, NONCE_BYTES, SealBroken, SealFault, seal, unseal
from gateway.cache.store import Held, StoreOut
from gateway.cache.valkey import BUDGET_SECONDS, ForeignValue, Link, Refused, Script, StoreClient, nobody
from gateway.clock import Clock

VIEW_SECONDS = 2.0
"""How old the view of the epochs may be: within this time a purge holds on every replica."""
POLL_SECONDS = 0.5
FRONT_SECONDS = 2.0
"""How long the tier in front is believed: within this time a refresh by one replica is seen by the others."""
_SWAPS = 3
_PURGE_TRIES = 5
_PURGE_PAUSE_SECONDS = 0.1

_RAISE_EPOCH = Script("raise_epoch.lua")
_SWAP_RECORD = Script("swap_record.lua")

_log = structlog.get_logger(__name__)


class ValkeyCacheStore:
    """The store of many replicas. `start` it before use; `aclose` ends what it started, and leaves the client open."""

    shared = True

    def __init__(
        self,
        client: StoreClient,
        clock: Clock,
        front: Records,
        *,
        prefix: str = "facegate:cache:1:",
        budget_seconds: float = BUDGET_SECONDS,
        asked: Callable[[float], None] = nobody,
    ) -> None:
        """`client` as made by `valkey.connect`; `front` is the tier in front, with a bound of its own.

        `prefix` begins every address; `budget_seconds` is what a call may wait for the store, in all. `asked` is told
        how many seconds each question took.
        """
        self.epochs = EpochView()
        self.health = Health(clock)
        self.faults = FaultLog(clock)
        self.front = front
        self._clock = clock
        self._budget_seconds = budget_seconds
        self._prefix = prefix.encode()
        self._epochs_address = self._prefix + b"epochs"
        self._viewed_at: float | None = None
        self._lock = asyncio.Lock()
        self._probe_now = asyncio.Event()
        # Asks at once whether it was only this process that was slow.
        self._link = Link(client, self.health, budget_seconds=budget_seconds, went_out=self._probe_now.set, asked=asked)
        self._reader: asyncio.Task[None] | None = None
        self._fetches: Flights[bytes | None] = Flights()
        self._writes: Flights[None] = Flights()

    async def start(self) -> None:
        """Reads the epochs once, which may fail, and goes on reading them."""
        await self.refresh()
        self._reader = asyncio.create_task(self._read_on())

    async def aclose(self) -> None:
        """Stops reading the epochs; from 2 s later on the store is out."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        await self._fetches.drain(self._budget_seconds)
        await self._writes.drain(self._budget_seconds)

    @property
    def available(self) -> bool:
        """See `CacheStore`."""
        if self.health.is_out or self._viewed_at is None:
            return False
        return self._clock.monotonic() - self._viewed_at < VIEW_SECONDS

    def held(self) -> Held:
        """See `CacheStore`: the tier in front."""
        return Held(len(self.front), self.front.used_bytes, sum(self.faults.counts.values()))

    def peek(self, key: CacheKey) -> bytes | None:
        """See `CacheStore`: what the tier in front holds."""
        return self.front.get(key.name)

    async def fetch(self, key: CacheKey) -> bytes | None:
        """See `CacheStore`: one round trip, shared by all who want this key at the same time."""
        task, _ = self._fetches.join_or_start(key, lambda: self._read(key))
        try:
            return await wait(task, self._budget_seconds)
        except TimeoutError:
            raise StoreOut from None

    async def update(
        self, key: CacheKey, change: Callable[[bytes | None], tuple[bytes, float]], *, waited_seconds: float = 0.0
    ) -> None:
        """See `CacheStore`: one round trip for an image of which nothing is kept yet, else two."""
        known = self.front.get(key.name)
        # First in front: whoever asks this replica next finds it, however long the store takes.
        record, lifetime_seconds = change(known)
        self._hold(key, record, self._clock.now() + lifetime_seconds)
        if not self.health.may_write:
            raise StoreOut
        writing = self._writes.start(None, lambda: self._write(key, change, new=known is None))
        try:
            await wait(writing, max(0.0, self._budget_seconds - waited_seconds))
        except TimeoutError:
            raise StoreOut from None

    async def purge(self, scope: Scope) -> int:
        """See `CacheStore`. Tries for about half a second."""
        async with self._lock:
            epoch = await self._raise_patiently(scope)
            self.epochs.raise_to(scope, epoch)
        return epoch

    async def refresh(self) -> bool:
        """Reads the epochs, which is also the probe of a store that is out; whether it answered."""
        async with self._lock:
            try:
                if self.health.is_out or self._viewed_at is None:
                    await self._link.reconnect()
                sent_at = self._clock.monotonic()
                await self._read_epochs()
            except StoreOut:
                return False
            self._viewed_at = sent_at
            self.health.answered()
            return True

    async def _read_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._probe_now.wait()
            self._probe_now.clear()
            await self.refresh()

    async def _read_epochs(self) -> None:
        if self.epochs.adopt(await self._stored_epochs()):
            return
        known = self.epochs.known(Scope())
        if known:
            _log.warning("cache.epochs_lost")
        await self._raise(EVERYTHING, known + 1, always=False)
        if not self.epochs.adopt(await self._stored_epochs()):
            self._link.out(Cause.GARBAGE)
            raise StoreOut

    async def _stored_epochs(self) -> dict[str, int]:
        return self._understood(await self._link.fields(self._epochs_address))

    async def _raise(self, field: str, at_least: int, *, always: bool) -> int:
        arguments = (field, at_least, int(always))
        try:
            raised = await self._link.run(_RAISE_EPOCH, self._epochs_address, *arguments, probe=True)
        except Refused:
            self._link.out(Cause.REFUSED)
            raise StoreOut from None
        return self._understood({b"raised": raised})["raised"]

    async def _raise_patiently(self, scope: Scope) -> int:
        for _ in range(_PURGE_TRIES - 1):
            with contextlib.suppress(StoreOut):
                return await self._raise(scope.address, self.epochs.known(scope) + 1, always=True)
            await asyncio.sleep(_PURGE_PAUSE_SECONDS)
        return await self._raise(scope.address, self.epochs.known(scope) + 1, always=True)

    def _understood(self, fields: object) -> dict[str, int]:
        epochs = parse(fields)
        if epochs is None:
            self._link.out(Cause.GARBAGE)
            raise StoreOut
        return epochs

    async def _read(self, key: CacheKey) -> bytes | None:
        return await self._opened(key, await self._sealed(key))

    async def _write(self, key: CacheKey, change: Callable[[bytes | None], tuple[bytes, float]], *, new: bool) -> None:
        try:
            await self._swap(key, change, new=new)
        except Refused:
            self.health.write_refused()
            raise StoreOut from None
        self.health.wrote()

    async def _swap(self, key: CacheKey, change: Callable[[bytes | None], tuple[bytes, float]], *, new: bool) -> None:
        address = self._address(key)
        for attempt in range(_SWAPS):
            # What is taken for new and is not, the script finds out.
            sealed = None if new and attempt == 0 else await self._sealed(key)
            record, lifetime_seconds = change(await self._opened(key, sealed))
            expires_at = self._clock.now() + lifetime_seconds
            held = sealed[:NONCE_BYTES] if sealed else b""
            value = seal(key, address, record, expires_at)
            lifetime_ms = max(1, round(lifetime_seconds * 1000))
            if await self._link.run(_SWAP_RECORD, address, held, value, lifetime_ms, NONCE_BYTES - 1):
                self._hold(key, record, expires_at)
                return
        raise StoreOut

    def _hold(self, key: CacheKey, record: bytes, expires_at: float) -> None:
        self.front.put(key.name, record, min(expires_at, self._clock.now() + FRONT_SECONDS))

    def _address(self, key: CacheKey) -> bytes:
        return self._prefix + key.name.hex().encode()

    async def _sealed(self, key: CacheKey) -> bytes | None:
        try:
            return await self._link.get(self._address(key))
        except ForeignValue:
            self.faults.note(SealFault.MALFORMED)
            return None

    async def _opened(self, key: CacheKey, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        address, now = self._address(key), self._clock.now()
        try:
            record, expires_at = unseal(key, address, sealed, now)
            if now >= expires_at:
                # Dead, and still there: for as long as clocks may differ, or because somebody put it back.
                left_seconds = await self._link.seconds_left(address)
                if left_seconds is None or left_seconds + now - expires_at > CLOCK_SKEW_SECONDS:
                    raise SealBroken(SealFault.REPLAYED)
                return None
        except SealBroken as broken:
            self.faults.note(broken.fault)
            return None
        self._hold(key, record, expires_at)
        return record
