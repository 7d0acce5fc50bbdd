"""The quota store that replicas share: Valkey 9, Redis 7, or a cluster of either.

Stands behind `QuotaGate` where `stores.quota` is a `valkey://` URL. Each question is one Lua script, hence atomic, timed by
the server. What a replica frees, settles and refunds rides along with its next question or goes within 5 ms; what it
holds is renewed. It remembers the birth mark of each tenant's state: a state with another mark lost its memory, and is
told what this replica knows before it is asked again.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from gateway.model import Limits, Window
from gateway.quota.answers import LostState, read_birth, read_time
from gateway.quota.gcra import remaining
from gateway.quota.known import Known, Notices
from gateway.quota.link import Script, ScriptLink, Word
from gateway.quota.outbox import ASKS, BACKGROUND_BUDGET_SECONDS, RECORD_MS, Outbox
from gateway.quota.store import (
    SLOT_LEASE_US,
    Admitted,
    Charge,
    OutageCause,
    Reserved,
    Snapshot,
    StoreUnavailable,
)
from gateway.quota.windows import LIMIT_IDS

_ADMIT, _RESERVE, _LOOK = Script("admit"), Script("reserve"), Script("look")
_CHARGE, _RESTATE = Script("charge"), Script("restate")


class ValkeyQuotaStore:
    """A `QuotaStore` on Valkey. `time_us` takes the place of the server's clock in tests, `monotonic` of this process's.

    `renew_seconds`: how often the leases of calls in flight are renewed.
    """

    waits: ClassVar[bool] = True

    def __init__(
        self,
        link: ScriptLink,
        *,
        time_us: Callable[[], int] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        renew_seconds: float = SLOT_LEASE_US / 3 / 1_000_000,
    ) -> None:
        self._link = link
        self._time_us = time_us
        self._tenants: dict[str, Known] = {}
        self._mark = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._outbox = Outbox(
            link,
            self._tenants,
            now=self._now,
            fresh=self._fresh,
            monotonic=monotonic,
            renew_seconds=renew_seconds,
        )

    def _known(self, tenant: str) -> Known:
        known = self._tenants.get(tenant)
        if known is None:
            known = self._tenants[tenant] = Known(self._link.key(tenant, ""))
        return known

    def _now(self) -> Word:
        return "" if self._time_us is None else self._time_us()

    def _fresh(self) -> str:
        return f"{self._mark}{next(self._numbers):x}"

    async def start(self) -> None:
        """See `QuotaStore.start`. Held slots are renewed from now on, whether the store is there yet or not."""
        self._outbox.start()
        await self._link.warm(BACKGROUND_BUDGET_SECONDS)

    async def admit(self, tenant: str, limits: Limits, call: str, budget_seconds: float) -> Admitted:
        """See `QuotaStore.admit`."""
        known = self._known(tenant)
        terms = known.terms(limits)
        keys = [known.state_key, known.slots_key, f"{known.key}call:{call}"]
        freed = known.take_freed()
        loop = asyncio.get_running_loop()
        due = loop.time() + budget_seconds
        try:
            for _ in range(ASKS):
                words = [call, self._now(), known.born, self._fresh(), *terms.admit, *freed]
                answer = await self._link.run(_ADMIT, tenant, keys, words, due - loop.time(), terms.read_admission)
                if not isinstance(answer, LostState):
                    break
                await self._restate(tenant, known, due)
            else:
                raise StoreUnavailable(OutageCause.REFUSED)
        except BaseException:
            known.put_back(Notices(freed, [], [], [], []))
            raise
        refused, known.born, wait, level = answer
        left = None if terms.flow is None else remaining(level, terms.flow)
        if not refused and limits.concurrency is not None:
            known.held[call] = None
        return Admitted(refused, wait, left, loop.time() - due + budget_seconds)

    async def reserve(self, tenant: str, limits: Limits, reservation: str, budget_seconds: float) -> Reserved:
        """See `QuotaStore.reserve`."""
        known = self._known(tenant)
        terms = known.terms(limits)
        keys = [known.state_key, known.record_key(reservation)]
        loop = asyncio.get_running_loop()
        due = loop.time() + budget_seconds
        for _ in range(ASKS):
            words = [reservation, self._now(), known.born, self._fresh(), RECORD_MS, *terms.reserve]
            answer = await self._link.run(_RESERVE, tenant, keys, words, due - loop.time(), terms.read_reservation)
            if not isinstance(answer, LostState):
                break
            await self._restate(tenant, known, due)
        else:
            raise StoreUnavailable(OutageCause.REFUSED)
        refused, known.born, wait, now, counts = answer
        known.saw(terms.windows, counts)
        rooms = [limit - used for (_, _, limit, _), (used, _) in zip(terms.windows, counts, strict=True)]
        left = max(0, min(rooms)) if rooms else None
        return Reserved(LIMIT_IDS[Window(refused)] if refused else "", wait, left, now, counts)

    async def look(self, tenant: str, limits: Limits, budget_seconds: float) -> Snapshot:
        """See `QuotaStore.look`. What waits to be written is written first, so that the answer is right to the moment."""
        known = self._known(tenant)
        loop = asyncio.get_running_loop()
        due = loop.time() + budget_seconds
        while known.waiting:
            await self._outbox.write(tenant, known, due - loop.time())
        terms = known.terms(limits)
        keys = [known.state_key, known.slots_key]
        words: list[Word] = [self._fresh(), self._now(), *terms.look]
        answer = await self._link.run(_LOOK, tenant, keys, words, due - loop.time(), terms.read_look)
        # Counts of a state that began again since say nothing about the one that this replica would say again.
        if answer.born and known.born in ("", answer.born):
            known.saw(terms.windows, answer.counts)
        counts = dict(zip(limits.upstream_calls, answer.counts, strict=True))
        return Snapshot(answer.now_us, answer.level, answer.slots, counts)

    def hold(self, tenant: str, call: str) -> None:
        """See `QuotaStore.hold`."""
        known = self._known(tenant)
        known.held[call] = None
        known.taken.append(call)
        self._outbox.soon(tenant, known)

    def release(self, tenant: str, call: str) -> None:
        """See `QuotaStore.release`."""
        known = self._known(tenant)
        known.release(call)
        self._outbox.soon(tenant, known)

    def settle(self, tenant: str, reservation: str) -> None:
        """See `QuotaStore.settle`."""
        known = self._known(tenant)
        known.settle(reservation)
        self._outbox.soon(tenant, known)

    def refund(self, tenant: str, reservation: str) -> None:
        """See `QuotaStore.refund`."""
        known = self._known(tenant)
        known.refund(reservation)
        self._outbox.soon(tenant, known)

    async def charge(self, tenant: str, charges: Sequence[Charge], budget_seconds: float) -> None:
        """See `QuotaStore.charge`."""
        known = self._known(tenant)
        keys = [known.state_key, *(known.record_key(one.reservation) for one in charges)]
        ends = [" ".join(f"{window.value} {end}" for window, end in one.ends.items()) for one in charges]
        words = [self._fresh(), self._now(), RECORD_MS, *ends]
        await self._link.run(_CHARGE, tenant, keys, words, budget_seconds, read_time)

    async def probe(self, budget_seconds: float) -> None:
        """See `QuotaStore.probe`."""
        await self._link.warm(budget_seconds)

    async def recover(self, budget_seconds: float) -> None:
        """See `QuotaStore.recover`. A write for every tenant: a store that only reads is not back."""
        self._link.disconnect()
        if not self._tenants:
            await self._link.warm(budget_seconds)
        for tenant, known in list(self._tenants.items()):
            await self._restate(tenant, known, asyncio.get_running_loop().time() + budget_seconds)

    async def aclose(self) -> None:
        """See `QuotaStore.aclose`."""
        await self._outbox.aclose()
        self._link.disconnect()

    def renew(self) -> None:
        """Extends the leases of calls that are still in flight."""
        self._outbox.renew()

    async def _restate(self, tenant: str, known: Known, due: float) -> None:
        """Says the slots held and the highest counts seen to a state that may have lost them."""
        keys = [known.state_key, known.slots_key]
        counts = [word for name, one in known.seen.items() for word in (name, one.used, one.end_us)]
        words = [
            self._fresh(),
            self._now(),
            known.born,
            self._fresh(),
            SLOT_LEASE_US,
            len(known.seen),
            *counts,
            *known.held,
        ]
        left = due - asyncio.get_running_loop().time()
        known.born = await self._link.run(_RESTATE, tenant, keys, words, left, read_birth, again=False)
