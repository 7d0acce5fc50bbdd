"""The ledger on Valkey: one hash a tenant and day, under the same prefix and hash tag as the tenant's quotas."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.quota.link import Script, ScriptLink, Word
from gateway.quota.usage import KEPT_DAYS, NAMES, Batch, Figures, figures_of, values_of

_MARK_MS = 86_400_000
_DAY_MS = KEPT_DAYS * 86_400_000
_ADD, _READ = Script("usage_add"), Script("usage_read")


class ValkeyUsageStore:
    """A `UsageStore` on Valkey."""

    def __init__(self, link: ScriptLink) -> None:
        self._link = link
        self._mark = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    async def add(self, batch: Batch, budget_seconds: float) -> None:
        """See `UsageStore.add`."""
        keys = [self._link.key(batch.tenant, f"batch:{batch.id}"), *self._keys(batch.tenant, list(batch.days))]
        figures = [value for one in batch.days.values() for value in values_of(one)]
        words: list[Word] = [batch.id, _MARK_MS, _DAY_MS, len(NAMES), *NAMES, *figures]
        await self._link.run(_ADD, batch.tenant, keys, words, budget_seconds)

    async def read(self, tenant: str, days: Sequence[int], budget_seconds: float) -> list[Figures]:
        """See `UsageStore.read`."""
        if not days:
            return []
        words = [f"{self._mark}{next(self._numbers):x}", *NAMES]
        _, *found = await self._link.run(_READ, tenant, self._keys(tenant, days), words, budget_seconds)
        return [figures_of(one) for one in found]

    def _keys(self, tenant: str, days: Sequence[int]) -> list[str]:
        return [self._link.key(tenant, f"usage:{datetime.fromtimestamp(day, UTC):%Y%m%d}") for day in days]
