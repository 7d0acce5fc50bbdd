"""A replica as a process of its own: `python -m tests.support.quota_replica`, told what to do by one JSON line on stdin.

Calls the gate from many tasks at once and prints one JSON line at the end. Concurrency is measured at a socket that all
replicas share, as the vendor would.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

import structlog

from gateway.clock import SystemClock
from gateway.errors import GatewayError, TenantConcurrencyExceeded, TenantRateLimited
from gateway.model import Tenant
from gateway.quota.build import build_quota
from gateway.quota.gate import QuotaGate
from tests.support.quota import PATIENCE, tenant

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def _say(what: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Vendor:
    """Where searches in flight are counted: opens a connection for each, and closes it when done."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def search(self, seconds: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        await reader.readexactly(1)
        await asyncio.sleep(seconds)
        writer.close()
        await writer.wait_closed()


async def _call(gate: QuotaGate, who: Tenant, vendor: Vendor, tally: dict[str, int], lottery: random.Random) -> bool:
    """Whether the day's limit refused."""
    try:
        with await gate.admit(who) as admission:
            reservation = await admission.reserve()
            tally["degraded"] += reservation.degraded
            await vendor.search(lottery.random() * 0.004)
            if lottery.random() < 0.1:
                reservation.refund()
                tally["refunded"] += 1
            else:
                reservation.settle()
                tally["admitted"] += 1
    except (TenantConcurrencyExceeded, TenantRateLimited) as refusal:
        tally["waited"] += 1
        await asyncio.sleep(min(0.005, refusal.retry_after_seconds or 0))
    except GatewayError:
        return True
    return False


async def _client(gate: QuotaGate, who: Tenant, vendor: Vendor, tally: dict[str, int], lottery: random.Random) -> None:
    """Calls until refused for a while: what is in flight elsewhere may yet be refunded."""
    patience = 8
    while patience:
        if await _call(gate, who, vendor, tally, lottery):
            patience -= 1
            await asyncio.sleep(0.02)
        else:
            patience = 8


async def _main(order: dict[str, Any]) -> None:
    quota = build_quota(
        order["url"],
        clock=SystemClock(),
        expected_replicas=3,
        prefix=order["prefix"],
        budget_seconds=PATIENCE,  # Exactness is promised while the store is there; a busy machine must not decide.
    )
    who = tenant(concurrency=order["concurrency"], day=order["day"])
    await quota.start()
    tally = {"admitted": 0, "refunded": 0, "waited": 0, "degraded": 0}
    vendor = Vendor(order["vendor_port"])
    lottery = random.Random(order["seed"])
    await asyncio.gather(*(_client(quota.gate, who, vendor, tally, lottery) for _ in range(order["clients"])))
    await quota.aclose()
    _say(tally)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.stdin.readline())))
