"""Signals of a process that serves, from its first moment to its last.

Loading the gateway takes a second. Without a handler SIGTERM would end the process by its default action in that time,
or, as the first process of a container, be lost. So `hold` runs before anything else is loaded, this file imports
nothing that takes time, and the handlers stay the same for as long as the process lives: what arrives before the event
loop runs is kept for it.

SIGTERM, SIGINT and SIGQUIT ask the process to leave, and a second one ends it at once, with status 1. SIGHUP asks for a
reload. No other signal that a process can be sent ends it in silence.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

LEAVE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
RELOAD = signal.SIGHUP
_LEFT_ALONE = frozenset(
    {
        # Faults of the process itself, and limits that are there to end it.
        *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP),
        *(signal.SIGXCPU, signal.SIGXFSZ),
        # Their default action ends nothing, or cannot be changed. Python ignores SIGPIPE.
        *(signal.SIGCHLD, signal.SIGCONT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGURG),
        *(signal.SIGKILL, signal.SIGSTOP, signal.SIGWINCH, signal.SIGPIPE),
    }
)
HANDLED = frozenset(number for number in signal.valid_signals() if number not in _LEFT_ALONE)


class ProcessSignals:
    """Takes the process's signals; `leaving` is whether one to leave has come."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self.leaving = False
        self._deliver: Callable[[int], None] = self._kept.append

    def hold(self) -> None:
        """Takes every signal from now on, and keeps what arrives."""
        for number in HANDLED:
            signal.signal(number, self._arrive)
        # Whoever starts the gateway may have blocked them until now, so that none is lost.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)

    def deliver_to(self, deliver: Callable[[int], None]) -> None:
        """Hands on what was kept, and everything from now on. `deliver` may be called between any two steps."""
        self._deliver = deliver
        while self._kept:
            deliver(self._kept.pop(0))

    def keep(self) -> None:
        """Keeps what arrives from now on, as before `deliver_to`."""
        self._deliver = self._kept.append

    def _arrive(self, number: int, _: FrameType | None) -> None:
        if number in LEAVE:
            if self.leaving:
                # Nothing may hold up the second signal: not a call in flight, not a flush.
                os._exit(1)
            self.leaving = True
        self._deliver(number)


process_signals = ProcessSignals()
