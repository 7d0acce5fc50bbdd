"""The ledger on Valkey: one hash a tenant and day, under the same prefix and hash tag as the tenant's quotas."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from datetime import date
from functools import partial

from gateway.quota.answers import read_figures, read_nothing
from gateway.quota.link import Script, ScriptLink, Word
from gateway.quota.usage import KEPT_DAYS, NAMES, Batch, Figures, figures_of, values_of

_MARK_MS = 86_400_000
_DAY_MS = KEPT_DAYS * 86_400_000
_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_REPLY_BYTES = 65_536
"""402 days of six figures take 54,700 bytes at most, if each figure has all of its 19 digits."""

_ADD, _READ = Script("usage_add"), Script("usage_read", reply_bytes=_REPLY_BYTES)


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
        await self._link.run(_ADD, batch.tenant, keys, words, budget_seconds, read_nothing)

    async def read(self, tenant: str, days: Sequence[int], budget_seconds: float) -> list[Figures]:
        """See `UsageStore.read`."""
        if not days:
            return []
        words = [f"{self._mark}{next(self._numbers):x}", *NAMES]
        read = partial(read_figures, len(days), len(NAMES))
        found = await self._link.run(_READ, tenant, self._keys(tenant, days), words, budget_seconds, read)
        return [figures_of(one) for one in found]

    def _keys(self, tenant: str, days: Sequence[int]) -> list[str]:
        return [self._link.key(tenant, f"usage:{_name(day)}") for day in days]


def _name(day: int) -> str:
    """A day as YYYYMMDD. The year has four digits whatever the platform's `strftime` makes of early ones."""
    return date.fromordinal(_EPOCH + day // _DAY_SECONDS).isoformat().replace("-", "")
