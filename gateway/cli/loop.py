"""Runs a coroutine on uvloop, which takes a third less processor time per call, or on asyncio's own loop without it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """The result of `main`. Without uvloop, which does not exist for every platform, one log line says so."""
    try:
        import uvloop
    except ImportError:
        import structlog

        problem = "uvloop is not installed, so that calls cost more: pip install uvloop"
        structlog.get_logger(__name__).warning("server.uvloop_missing", problem=problem)
        return asyncio.run(main)
    result: T = uvloop.run(main)
    return result
