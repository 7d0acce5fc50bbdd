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
from functools import partial
from typing import ClassVar

from gateway.model import Limits
from gateway.quota.answers import (
    LostState,
    read_admission,
    read_birth,
    read_look,
    read_reservation,
    read_time,
)
from gateway.quota.gcra import flow_of, remaining
from gateway.quota.known import Known, Notices
from gateway.quota.link import Script, ScriptLink, Word
from gateway.quota.outbox import ASKS, BACKGROUND_BUDGET_SECONDS, RECORD_MS, Outbox, record_key
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
            known = self._tenants[tenant] = Known()
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
        flow = flow_of(limits.rate) if limits.rate is not None else None
        drain, capacity = flow if flow is not None else (0, 0)
        concurrency = -1 if limits.concurrency is None else limits.concurrency
        keys = [self._link.key(tenant, name) for name in ("state", "slots", f"call:{call}")]
        freed = known.take_freed()
        loop = asyncio.get_running_loop()
        due = loop.time() + budget_seconds
        read = partial(read_admission, flow=flow, concurrency=limits.concurrency)
        try:
            for _ in range(ASKS):
                words = [
                    call,
                    self._now(),
                    known.born,
                    self._fresh(),
                    drain,
                    capacity,
                    concurrency,
                    SLOT_LEASE_US,
                    *freed,
                ]
                answer = await self._link.run(_ADMIT, tenant, keys, words, due - loop.time(), read)
                if not isinstance(answer, LostState):
                    break
                await self._restate(tenant, known, due)
            else:
                raise StoreUnavailable(OutageCause.REFUSED)
        except BaseException:
            known.put_back(Notices(freed, [], [], [], []))
            raise
        known.born = answer.born
        left = None if flow is None else remaining(answer.level, flow)
        spent = loop.time() - due + budget_seconds
        if not answer.refused and concurrency >= 0:
            known.held[call] = None
        return Admitted(answer.refused, answer.wait_us, left, spent)

    async def reserve(self, tenant: str, limits: Limits, reservation: str, budget_seconds: float) -> Reserved:
        """See `QuotaStore.reserve`."""
        known = self._known(tenant)
        windows = list(limits.upstream_calls.items())
        pairs = [word for window, limit in windows for word in (window.value, limit)]
        keys = [self._link.key(tenant, "state"), record_key(self._link, tenant, reservation)]
        loop = asyncio.get_running_loop()
        due = loop.time() + budget_seconds
        read = partial(read_reservation, windows=windows)
        for _ in range(ASKS):
            words = [reservation, self._now(), known.born, self._fresh(), RECORD_MS, *pairs]
            answer = await self._link.run(_RESERVE, tenant, keys, words, due - loop.time(), read)
            if not isinstance(answer, LostState):
                break
            await self._restate(tenant, known, due)
        else:
            raise StoreUnavailable(OutageCause.REFUSED)
        known.born = answer.born
        counts = answer.counts
        known.saw(dict(zip(limits.upstream_calls, counts, strict=True)))
        left = min((max(0, limit - one.used) for (_, limit), one in zip(windows, counts, strict=True)), default=None)
        refused = "" if answer.refused is None else LIMIT_IDS[answer.refused]
        return Reserved(refused, answer.wait_us, left, answer.now_us, counts)

    async def look(self, tenant: str, limits: Limits, budget_seconds: float) -> Snapshot:
        """See `QuotaStore.look`. What waits to be told is told first, so that the answer is right to the moment."""
        known = self._known(tenant)
        loop = asyncio.get_running_loop()
        due = loop.time() + budget_seconds
        while known.waiting:
            await self._outbox.write(tenant, known, due - loop.time())
        drain, capacity = flow_of(limits.rate) if limits.rate is not None else (0, 0)
        keys = [self._link.key(tenant, "state"), self._link.key(tenant, "slots")]
        windows = list(limits.upstream_calls)
        words = [self._fresh(), self._now(), drain, capacity, *(window.value for window in windows)]
        read = partial(read_look, windows=windows)
        answer = await self._link.run(_LOOK, tenant, keys, words, due - loop.time(), read)
        counts = dict(zip(windows, answer.counts, strict=True))
        # Counts of a state that began again since say nothing about the one that this replica would say again.
        if answer.born and known.born in ("", answer.born):
            known.saw(counts)
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
        keys = [self._link.key(tenant, "state"), *(record_key(self._link, tenant, one.reservation) for one in charges)]
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
        keys = [self._link.key(tenant, "state"), self._link.key(tenant, "slots")]
        counts = [word for window, one in known.seen.items() for word in (window.value, one.used, one.end_us)]
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
