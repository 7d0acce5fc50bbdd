"""Waiting for what a test expects, instead of for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], bool], what: str, within_seconds: float = 30.0) -> None:
    """Returns once `condition` holds; fails the test, naming `what`, if it does not within the time."""
    try:
        async with asyncio.timeout(within_seconds):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {within_seconds} s: {what}") from None
