"""Sealed records in a store that all replicas share, with a small memory tier in front.

One round trip per lookup, none while the tier in front holds the record. The epochs (`shared_epochs.py`) are in every
key's name. So a replica whose view of them is fresh cannot even address an answer from before a purge, and one whose
view is older than 2 s answers nothing. During an outage of the store nobody waits for it: only the reading of the epochs
goes on, and finds when it is back. Knows nothing of the client (`valkey.py`). What a record means is known by the
`change` of an update and by `join_records`.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.cache.client import StoreClient
from gateway.cache.epochs import Scope
from gateway.cache.flights import Flights, wait
from gateway.cache.health import FaultLog, Health
from gateway.cache.key import CacheKey
from gateway.cache.memory import Records
from gateway.cache.merging import join_records
from gateway.cache.sealing import CLOCK_SKEW_SECONDS, NONCE_BYTES, SealBroken, SealFault, seal, unseal
from gateway.cache.shared_epochs import SharedEpochs
from gateway.cache.store import Change, Held, StoreOut
from gateway.cache.store_clock import StoreClock
from gateway.cache.valkey import BUDGET_SECONDS, ForeignValue, Link, Refused, Script, nobody
from gateway.clock import Clock

FRONT_SECONDS = 2.0
"""How long the tier in front is believed: within this time a refresh by one replica is seen by the others."""
_SWAPS = 6

_SWAP_RECORD = Script("swap_record.lua")


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
        store_clock: StoreClock | None = None,
    ) -> None:
        """`client` as made by `client.connect`; `front` is the tier in front, with a bound of its own.

        `prefix` begins every address; `budget_seconds` is what a call may wait for the store, in all. `asked` receives
        the duration of each round trip in seconds. `store_clock` replaces the store's time in tests.
        """
        self.health = Health(clock)
        self.faults = FaultLog(clock)
        self.front = front
        self._monotonic = clock.monotonic
        self._budget_seconds = budget_seconds
        self._prefix = prefix.encode()
        # Reads the epochs at once after a failure, to find out whether it was only this process that was slow.
        self._link = Link(client, self.health, budget_seconds=budget_seconds, went_out=self._probe, asked=asked)
        self._clock = store_clock or StoreClock(clock)
        self._shared_epochs = SharedEpochs(self._link, self.health, clock, self._prefix + b"epochs", self._clock)
        self.epochs = self._shared_epochs.view
        self._fetches: Flights[bytes | None] = Flights()
        self._writes: Flights[None] = Flights()
        self.time = self._clock.time
        self.time_at = self._clock.time_at
        self.refresh = self._shared_epochs.refresh

    async def start(self) -> None:
        """Reads the epochs once, which may fail, and goes on reading them."""
        await self._shared_epochs.start()

    async def aclose(self) -> None:
        """Stops reading the epochs; from 2 s later on the store counts as unavailable."""
        await self._shared_epochs.aclose()
        await self._fetches.drain(self._budget_seconds)
        await self._writes.drain(self._budget_seconds)

    @property
    def available(self) -> bool:
        """See `CacheStore`."""
        return not self.health.is_out and self._shared_epochs.fresh

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
        self,
        key: CacheKey,
        change: Callable[[bytes | None], Change | None],
        *,
        asked_at: float,
        waited_seconds: float = 0.0,
    ) -> None:
        """See `CacheStore`: one round trip for an image of which nothing is kept yet, else two."""
        known = self.front.get(key.name)
        changed = change(known)
        if changed is None:
            return
        self._hold_unconfirmed(key, changed, asked_at, joined=known is not None)
        if not self.health.may_write:
            raise StoreOut
        writing = self._writes.start(None, lambda: self._write(key, change, new=known is None))
        try:
            await wait(writing, max(0.0, self._budget_seconds - waited_seconds))
        except TimeoutError:
            raise StoreOut from None

    async def purge(self, scope: Scope) -> int:
        """See `CacheStore`. Tries for about half a second."""
        return await self._shared_epochs.purge(scope)

    def _probe(self) -> None:
        self._shared_epochs.read_now.set()

    async def _read(self, key: CacheKey) -> bytes | None:
        sent_at = self._monotonic()
        opened = await self._opened(key, await self._sealed(key))
        if opened is None:
            return None
        self._hold(key, *opened, sent_at)
        return opened[0]

    async def _write(self, key: CacheKey, change: Callable[[bytes | None], Change | None], *, new: bool) -> None:
        try:
            await self._swap(key, change, new=new)
        except Refused:
            self.health.write_refused()
            raise StoreOut from None
        self.health.wrote()

    async def _swap(self, key: CacheKey, change: Callable[[bytes | None], Change | None], *, new: bool) -> None:
        address = self._address(key)
        for attempt in range(_SWAPS):
            # Whether a record that counts as new really is new, the script finds out.
            sent_at = self._monotonic()
            sealed = None if new and attempt == 0 else await self._sealed(key)
            opened = await self._opened(key, sealed)
            changed = change(opened[0] if opened else None)
            if changed is None:
                if opened:
                    self._hold(key, *opened, sent_at)
                return
            record, lifetime_seconds = changed
            expires_at = self._clock.time() + lifetime_seconds
            held = sealed[:NONCE_BYTES] if sealed else b""
            value = seal(key, address, record, expires_at)
            lifetime_ms = max(1, round(lifetime_seconds * 1000))
            sent_at = self._monotonic()
            if await self._link.swap(_SWAP_RECORD, address, held, value, lifetime_ms, NONCE_BYTES - 1):
                self._hold(key, record, expires_at, sent_at)
                return
        raise StoreOut

    def _hold_unconfirmed(self, key: CacheKey, changed: Change, asked_at: float, *, joined: bool) -> None:
        # Held before the store has it, so that the next search on this replica finds it however long the store takes.
        # Until the store answers, a newer answer of another replica may be there. So this one is believed only as long
        # after its question as any answer in front is believed after a refresh elsewhere, and what it was joined with
        # no longer than before.
        record, lifetime_seconds = changed
        now = self._monotonic()
        until = min(now + lifetime_seconds, asked_at + FRONT_SECONDS)
        if joined:
            until = min(until, self.front.expires_at(key.name) or until)
        if until > now:
            self.front.put(key.name, record, until)

    def _hold(self, key: CacheKey, record: bytes, expires_at: float, sent_at: float) -> None:
        # Replies may arrive in another order than the store sent them, so what is here may be newer.
        held = self.front.get(key.name)
        if held is not None and held != record:
            record = join_records(held, record)
        left_seconds = expires_at - self._clock.time()
        self.front.put(key.name, record, min(self._monotonic() + left_seconds, sent_at + FRONT_SECONDS))

    def _address(self, key: CacheKey) -> bytes:
        return self._prefix + key.name.hex().encode()

    async def _sealed(self, key: CacheKey) -> bytes | None:
        try:
            return await self._link.get(self._address(key))
        except ForeignValue:
            self.faults.note(SealFault.MALFORMED)
            return None

    async def _opened(self, key: CacheKey, sealed: bytes | None) -> tuple[bytes, float] | None:
        if sealed is None:
            return None
        address, now = self._address(key), self._clock.time()
        try:
            record, expires_at = unseal(key, address, sealed, now)
            if now >= expires_at:
                # Expired, and still there: for as long as clocks may differ, or because somebody put it back.
                left_seconds = await self._link.seconds_left(address)
                if left_seconds is None or left_seconds + now - expires_at > CLOCK_SKEW_SECONDS:
                    raise SealBroken(SealFault.REPLAYED)
                return None
        except SealBroken as broken:
            self.faults.note(broken.fault)
            return None
        except ForeignValue:
            self.faults.note(SealFault.MALFORMED)
            return None
        return record, expires_at
