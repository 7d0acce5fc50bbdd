"""What signals do to a gateway that runs in this process's event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from gateway.cli.signals import LEAVE, RELOAD, process_signals


class Drainable(Protocol):
    """What a signal can ask of a gateway."""

    def begin_drain(self) -> None:
        """Starts the way out and returns at once."""
        ...


def ignore(_: str) -> None:
    """Does nothing about a signal."""


class OnSignal:
    """Handles signals while it is entered, which is in the running loop and before the gateway is opened.

    The first signal of `leave` is reported to `on_leave`. Before `opened` it cancels the task that entered; after that it
    drains the gateway. SIGHUP calls `on_reload`, and all others `on_other`, with the signal's name.
    """

    def __init__(
        self,
        *,
        leave: frozenset[signal.Signals] = LEAVE,
        on_leave: Callable[[str], None] = ignore,
        on_reload: Callable[[str], None] = ignore,
        on_other: Callable[[str], None] = ignore,
    ) -> None:
        self.leaving = False
        self._leave = leave
        self._on_leave = on_leave
        self._on_reload = on_reload
        self._on_other = on_other
        self._gateway: Drainable | None = None

    def __enter__(self) -> Self:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._task = task

        def deliver(number: int) -> None:
            loop.call_soon_threadsafe(self._handle, number)

        process_signals.deliver_to(deliver)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        process_signals.keep()
        # The start was given up, as a signal wanted.
        return kind is asyncio.CancelledError and self.leaving and self._gateway is None

    async def opened(self, gateway: Drainable) -> None:
        """From now on a signal drains `gateway`; one that came while it was being opened does so at once."""
        self._gateway = gateway
        if self.leaving:
            # The cancellation came too late for the start. It may still be on its way.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            self._task.uncancel()
            gateway.begin_drain()

    def _handle(self, number: int) -> None:
        name = _name(number)
        if number not in self._leave:
            (self._on_reload if number == RELOAD else self._on_other)(name)
        elif not self.leaving:
            self.leaving = True
            self._on_leave(name)
            if self._gateway is None:
                self._task.cancel()
            else:
                self._gateway.begin_drain()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
