"""What one replica still has to write to the shared store: slots to free, take and renew, reservations to end.

Kept by `valkey.py`. It is written within 5 ms, in batches, in the background: no call waits for it. In an outage it is
tried again four times a second. Each batch also reads the store's clock: after a jump ahead the store has dropped slots
whose calls still run, and they are taken again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from gateway.quota.answers import read_time
from gateway.quota.connection import Lost
from gateway.quota.known import Known
from gateway.quota.link import Script, ScriptLink, Word
from gateway.quota.store import SLOT_LEASE_US, StoreUnavailable
from gateway.quota.store_clock import StoreClock

RECORD_MS = 86_400_000
"""An open reservation's record, and a refund's: longer than any outage after which it may be sent again."""

ASKS = 3
BACKGROUND_BUDGET_SECONDS = 0.25
_FLUSH_SECONDS = 0.005
_AGAIN_SECONDS = 0.25
_CLOSE_SECONDS = 1.0

_FINISH = Script("finish")


class Outbox:
    """The notices of all `tenants`. `now` gives the time for the scripts ("" for the server's), `fresh` a unique id."""

    def __init__(
        self,
        link: ScriptLink,
        tenants: Mapping[str, Known],
        *,
        now: Callable[[], Word],
        fresh: Callable[[], str],
        monotonic: Callable[[], float],
        renew_seconds: float,
    ) -> None:
        self._link = link
        self._tenants = tenants
        self._now = now
        self._fresh = fresh
        self._monotonic = monotonic
        self._renew_seconds = renew_seconds
        self._clock = StoreClock()
        self._unflushed: dict[str, Known] = {}
        self._flush_timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Renews held slots from now on, whether the store is there yet or not."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_always())

    def soon(self, tenant: str, known: Known, seconds: float = _FLUSH_SECONDS) -> None:
        """Writes the tenant's notices within `seconds`."""
        self._unflushed[tenant] = known
        if self._flush_timer is None and self._flushing is None:
            self._flush_timer = asyncio.get_running_loop().call_later(seconds, self._start_flush)

    def _start_flush(self) -> None:
        self._flush_timer = None
        self._flushing = asyncio.create_task(self._flush())
        self._flushing.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        self._flushing = None
        failed = not task.cancelled() and isinstance(task.exception(), StoreUnavailable)
        if self._unflushed and not task.cancelled():
            self.soon(*next(iter(self._unflushed.items())), _AGAIN_SECONDS if failed else _FLUSH_SECONDS)

    async def _flush(self) -> None:
        """Writes all that waits. Raises `StoreUnavailable` with the rest unwritten."""
        while self._unflushed:
            tenant, known = next(iter(self._unflushed.items()))
            while known.waiting:
                await self.write(tenant, known, BACKGROUND_BUDGET_SECONDS)
            self._unflushed.pop(tenant, None)

    async def write(self, tenant: str, known: Known, budget_seconds: float) -> None:
        """Writes one batch of a tenant's notices now. Raises `StoreUnavailable`."""
        due = asyncio.get_running_loop().time() + budget_seconds
        for ask in range(1, ASKS + 1):
            try:
                await self._write_once(tenant, known, due)
            except Lost:
                if ask == ASKS:
                    raise
            else:
                return

    async def _write_once(self, tenant: str, known: Known, due: float) -> None:
        """Never sent again as it was: a call that it renews may have been released since, by a question that overtook it."""
        notices = known.take()
        keys = [known.state_key, known.slots_key]
        keys += [known.record_key(one) for one in (*notices.settled, *notices.refunded)]
        counts = (len(notices.freed), len(notices.taken), len(notices.settled))
        slots = (*notices.freed, *notices.taken, *notices.renewed)
        words = [self._fresh(), self._now(), SLOT_LEASE_US, RECORD_MS, *counts, *slots]
        left = due - asyncio.get_running_loop().time()
        try:
            now_us = await self._link.run(_FINISH, tenant, keys, words, left, read_time, again=False)
        except BaseException:
            known.put_back(notices)
            raise
        if self._clock.read(now_us, int(self._monotonic() * 1_000_000)) > 0:
            self._hold_again()

    def _hold_again(self) -> None:
        """The store's clock jumped ahead: by it the leases of calls in flight are over, and their slots given away."""
        for tenant, known in self._tenants.items():
            if known.held:
                known.hold_again()
                self.soon(tenant, known)

    def renew(self) -> None:
        """Extends the leases of calls that are still in flight, with the next batch."""
        for tenant, known in self._tenants.items():
            known.renewed = list(known.held)
            if known.renewed:
                self.soon(tenant, known)

    async def _renew_always(self) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            self.renew()

    async def aclose(self) -> None:
        """Stops, and writes what waits, for at most a second."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
        tasks = [task for task in (self._renewing, self._flushing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._flush()
