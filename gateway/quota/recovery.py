"""Brings a lost store back: probes it, writes to it what was spent meanwhile, and only then closes the breaker.

Runs in the background of `gate.py`; no call waits for it. Each upstream call is written by its own id, since some of them
were asked for with the answer lost, and may have been charged already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import structlog

from gateway.clock import Clock
from gateway.quota.outage import Outage
from gateway.quota.standing import Standing
from gateway.quota.store import Charge, OutageCause, QuotaStore, StoreUnavailable

_STEP_BUDGET_SECONDS = 0.25
"""For one question, of which no call waits for any: more than a call's, since a connection has to be made as well."""

_CHARGES_AT_ONCE = 200
_WRITE_BACK_ROUNDS = 20
_CLOSE_SECONDS = 1.0
_PROOFS = 8
"""A store that was too slow answers this often in a row, each time as fast as a call needs it, before it is trusted again."""

_log = structlog.get_logger(__name__)


class Recovery:
    """Runs while the store is out, or while it is owed anything; tries every `probe_seconds`."""

    def __init__(
        self,
        store: QuotaStore,
        outage: Outage,
        standings: Mapping[str, Standing],
        clock: Clock,
        *,
        probe_seconds: float,
        budget_seconds: float,
    ) -> None:
        self._store = store
        self._outage = outage
        self._standings = standings
        self._clock = clock
        self._probe_seconds = probe_seconds
        self._budget_seconds = budget_seconds
        self._task: asyncio.Task[None] | None = None

    def failed(self, failure: StoreUnavailable) -> None:
        """Notes that the store gave no verdict."""
        self._outage.failed(failure.cause, self._clock.monotonic(), failure.waited_seconds)
        if self._outage.open:
            self.soon()

    def soon(self) -> None:
        """Starts, unless it runs."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None

    async def _run(self) -> None:
        rested = 0.0
        while self._outage.open or self._owed():
            if self._outage.open and rested < self._outage.rest_seconds:
                rested = self._outage.rest_seconds
                await asyncio.sleep(rested)
            try:
                await self._attempt()
                rested = 0.0
                continue
            except StoreUnavailable:
                pass
            except Exception:  # noqa: BLE001 - whatever it is: without recovery the outage would never end
                _log.exception("quota.recovery_failed")
            await asyncio.sleep(self._probe_seconds)

    async def _attempt(self) -> None:
        if self._outage.open:
            await self._store.recover(_STEP_BUDGET_SECONDS)
            if self._outage.cause is OutageCause.TIMEOUT:
                for _ in range(_PROOFS):
                    await self._store.probe(self._budget_seconds)
        written = 0
        # Calls go on meanwhile: under load something new is always owed, and is written right after.
        for _ in range(_WRITE_BACK_ROUNDS):
            written += await self._write_back()
            if not self._owed():
                break
        if self._outage.open:
            self._outage.ended(self._clock.monotonic(), written_back=written)

    def _owed(self) -> int:
        return sum(len(standing.owed) for standing in self._standings.values())

    async def _write_back(self) -> int:
        written = 0
        for tenant, standing in list(self._standings.items()):
            charges = list(standing.owed.values())
            for start in range(0, len(charges), _CHARGES_AT_ONCE):
                await self._write(tenant, standing, charges[start : start + _CHARGES_AT_ONCE])
            written += len(charges)
        return written

    async def _write(self, tenant: str, standing: Standing, charges: Sequence[Charge]) -> None:
        """A part at a time: what is written stays written, however much there is and however the rest ends."""
        await self._store.charge(tenant, charges, _STEP_BUDGET_SECONDS)
        for one in charges:
            standing.owed.pop(one.reservation, None)

    async def aclose(self) -> None:
        """Stops, and tries once more to write what is owed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._outage.open or self._owed():
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._attempt()
        if self._owed():
            _log.warning("quota.charges_lost", charges=self._owed())
