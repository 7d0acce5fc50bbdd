"""A tenant that has used much of its quota: a cause of an alert, for real (see `alert_faults.py`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.alert_faults import Begin
from tests.support.gateway import config_of, running
from tests.support.traffic import called, search
from tests.support.upstream import FakeUpstream


@asynccontextmanager
async def quota_nearly_used(_: Path) -> AsyncIterator[tuple[str, Begin]]:
    """Nine of ten calls of a month's quota."""
    limited = {"id": "demo", "face_sets": {"employees": "e"}, "limits": {"upstream_calls": {"per_month": 10}}}
    async with running(config_of(tenants=[limited]), upstream=FakeUpstream()) as gateway, called(gateway) as traffic:
        for _number in range(4):
            await search(traffic.stub)

        async def begin() -> None:
            for _number in range(5):
                await search(traffic.stub)

        yield gateway.ops_address, begin
