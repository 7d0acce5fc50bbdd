"""Signals in the event loop, and after it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from gateway.cli.on_signal import OnSignal
from gateway.cli.signals import HANDLED, process_signals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals are the process's: the test's own handlers come back."""
    before = {number: signal.getsignal(number) for number in HANDLED}
    process_signals.hold()
    yield
    process_signals.deliver_to(lambda _: None)
    process_signals.keep()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_after_the_loop_waits_for_the_next_one() -> None:
    """A loop that is closed takes no call; nothing is raised in whatever runs at that moment."""
    reported: list[str] = []

    async def serve() -> None:
        with OnSignal(on_other=reported.append):
            await asyncio.sleep(0)

    asyncio.run(serve())
    signal.raise_signal(signal.SIGUSR1)
    assert reported == []
    asyncio.run(serve())
    assert reported == ["SIGUSR1"]
