"""The epochs in the shared store, and its time: read twice a second, raised by a purge.

The reading is also the probe of a store that is unavailable. Knows nothing of records or seals.
"""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from gateway.cache.epochs import EVERYTHING, EpochView, Scope, parse_epoch, parse_reading
from gateway.cache.health import Cause, Health
from gateway.cache.store import StoreOut
from gateway.cache.store_clock import StoreClock
from gateway.cache.valkey import Link, Refused, Script
from gateway.clock import Clock

VIEW_SECONDS = 2.0
"""How old the view of the epochs may be: within this time a purge holds on every replica."""
POLL_SECONDS = 0.5
_PURGE_TRIES = 5
_PURGE_PAUSE_SECONDS = 0.1

_READ_EPOCHS = Script("read_epochs.lua")
_RAISE_EPOCH = Script("raise_epoch.lua")

_log = structlog.get_logger(__name__)


class SharedEpochs:
    """What this process knows of the store's epochs and of its time. `start` it before use; `aclose` ends the reading."""

    def __init__(self, link: Link, health: Health, clock: Clock, address: bytes, store_clock: StoreClock) -> None:
        """`address` is that of the hash in the store."""
        self.view = EpochView()
        self.clock = store_clock
        self.read_now = asyncio.Event()
        """Set it to read at once."""
        self._link = link
        self._health = health
        self._monotonic = clock.monotonic
        self._address = address
        self._viewed_at: float | None = None
        self._empty_all = False
        self._lock = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Reads once, which may fail, and goes on reading."""
        await self.refresh()
        self._reader = asyncio.create_task(self._read_on())

    async def aclose(self) -> None:
        """Stops reading; from 2 s later on the view is not fresh."""
        while self._reader is not None and not self._reader.done():
            # More than once if need be: a library in between must not keep the process from ending.
            self._reader.cancel()
            await asyncio.wait([self._reader], timeout=POLL_SECONDS)
        self._reader = None

    @property
    def fresh(self) -> bool:
        """Whether every purge that ended 2 s ago or earlier is known."""
        return self._viewed_at is not None and self._monotonic() - self._viewed_at < VIEW_SECONDS

    async def purge(self, scope: Scope) -> int:
        """Raises the scope's epoch and returns it. Tries for about half a second."""
        async with self._lock:
            epoch = await self._raise_patiently(scope)
            self.view.raise_to(scope, epoch)
        return epoch

    async def refresh(self) -> bool:
        """Reads the epochs; whether the store answered."""
        async with self._lock:
            try:
                if self._health.is_out or self._viewed_at is None:
                    await self._link.reconnect()
                sent_at = self._monotonic()
                await self._read()
            except StoreOut:
                return False
            self._viewed_at = sent_at
            self._health.answered()
            return True

    async def _read_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self.read_now.wait()
            self.read_now.clear()
            await self.refresh()

    async def _read(self) -> None:
        adopted = await self._adopted()
        if adopted and not self._empty_all:
            return
        known = self.view.known(Scope())
        if known and not adopted:
            _log.warning("cache.epochs_lost")
        await self._raise(EVERYTHING, known + 1, always=False)
        if not await self._adopted():
            self._link.out(Cause.GARBAGE)
            raise StoreOut
        self._empty_all = False

    async def _adopted(self) -> bool:
        sent_at = self._monotonic()
        reading = parse_reading(await self._answered(_READ_EPOCHS))
        if reading is None:
            self._link.out(Cause.GARBAGE)
            raise StoreOut
        if not self.clock.note(reading.store_time, sent_at, self._monotonic()):
            _log.warning("cache.store_clock_set")
            self._empty_all = True
        return self.view.adopt(reading.epochs, reading.latest)

    async def _raise(self, field: str, at_least: int, *, always: bool) -> int:
        epoch = parse_epoch(await self._answered(_RAISE_EPOCH, field, at_least, int(always)))
        if epoch is None:
            self._link.out(Cause.GARBAGE)
            raise StoreOut
        return epoch

    async def _raise_patiently(self, scope: Scope) -> int:
        for _ in range(_PURGE_TRIES - 1):
            with contextlib.suppress(StoreOut):
                return await self._raise(scope.address, self.view.known(scope) + 1, always=True)
            await asyncio.sleep(_PURGE_PAUSE_SECONDS)
        return await self._raise(scope.address, self.view.known(scope) + 1, always=True)

    async def _answered(self, script: Script, *arguments: str | int) -> object:
        try:
            return await self._link.run(script, self._address, *arguments, probe=True)
        except Refused:
            self._link.out(Cause.REFUSED)
            raise StoreOut from None
