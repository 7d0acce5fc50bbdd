"""Puts the quota capability together from plain settings, for `app.py`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.clock import Clock
from gateway.quota.gate import OutagePolicy, QuotaGate, nobody
from gateway.quota.link import ScriptLink, link_to
from gateway.quota.link import nobody as unheard
from gateway.quota.memory import MemoryQuotaStore
from gateway.quota.store import STORE_BUDGET_SECONDS, StoreUnavailable
from gateway.quota.usage import MemoryUsageStore, UsageLedger
from gateway.quota.usage_valkey import ValkeyUsageStore
from gateway.quota.valkey import ValkeyQuotaStore

CHECK_SECONDS = 1.0
"""A shared store is asked so often by itself: a gateway without calls, or without limits, has to know of an outage too."""
_WARM_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Quota:
    """The gate and the ledger, over one store. `start` before the first call, `aclose` after the last."""

    gate: QuotaGate
    usage: UsageLedger
    links: tuple[ScriptLink, ...] = ()
    _checking: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Warms connections and begins to write the ledger; a store that is out does not stop it."""
        await asyncio.gather(self.gate.start(), *(self._warm(link) for link in self.links))
        await self.usage.start()
        if self.links:
            self._checking.append(asyncio.create_task(self._check_on()))

    async def _check_on(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.gate.check()

    @staticmethod
    async def _warm(link: ScriptLink) -> None:
        with contextlib.suppress(StoreUnavailable):
            await link.warm(_WARM_SECONDS)

    async def aclose(self) -> None:
        """Writes what is owed to the store and the ledger, and closes the connections. Takes at most 3 s."""
        for task in self._checking:
            task.cancel()
        await asyncio.gather(*self._checking, return_exceptions=True)
        await self.usage.aclose()
        await self.gate.aclose()
        for link in self.links:
            link.disconnect()


def build_quota(
    url: str,
    *,
    clock: Clock,
    on_store_failure: str = OutagePolicy.SHARE.value,
    expected_replicas: int = 1,
    username: str = "",
    password: Callable[[], str] = str,
    tls: ssl.SSLContext | None = None,
    prefix: str = "facegate:quota:",
    on_outage: Callable[[bool], None] = nobody,
    asked: Callable[[float], None] = unheard,
    budget_seconds: float = STORE_BUDGET_SECONDS,
) -> Quota:
    """The quota capability on the store that `url` names (see `link_to`), or on `memory://`. Connects to nothing yet.

    `asked` is told how many seconds each question to the store took. Raises `ValueError` for a URL or policy that cannot be, without repeating the URL.
    """
    policy = OutagePolicy(on_store_failure)
    if url.startswith("memory:"):
        gate = QuotaGate(MemoryQuotaStore(clock), clock=clock, policy=policy, expected_replicas=expected_replicas)
        return Quota(gate, UsageLedger(MemoryUsageStore(), clock))
    # The ledger's reads are long and its batches large: on a connection of its own they delay no admission.
    link, ledger_link = (
        link_to(url, username=username, password=password, tls=tls, prefix=prefix, asked=listener)
        for listener in (asked, unheard)
    )
    gate = QuotaGate(
        ValkeyQuotaStore(link),
        clock=clock,
        policy=policy,
        expected_replicas=expected_replicas,
        on_outage=on_outage,
        budget_seconds=budget_seconds,
    )
    return Quota(gate, UsageLedger(ValkeyUsageStore(ledger_link), clock), (ledger_link,))
