"""What a gateway shows on `/metrics`."""

from __future__ import annotations

import re

import aiohttp


async def metrics_page(ops_address: str) -> str:
    """The page, as a scrape gets it."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{ops_address}/metrics") as answer:
        assert answer.status == 200
        return await answer.text()


def values(page: str) -> dict[str, float]:
    """Each series (its name with its labels) with its value."""
    return {series: float(value) for series, value in re.findall(r"^([^# ].*) (\S+)$", page, re.MULTILINE)}
