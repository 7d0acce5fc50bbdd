"""The listener is tested on both event loops: the gateway runs on uvloop, whose connections end in ways of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import uvloop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops of every test here."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
