"""Writes lines to a file descriptor off the event loop, in batches. Never blocks and never fails whoever logs.

A full or broken pipe costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import atexit
import os
import select
from collections import deque
from threading import Event, Thread

BATCH_SECONDS = 0.04
MAX_LINES = 8192
CLOSE_SECONDS = 1.0
_BATCH_LINES = 256
_FULL_PIPE_SECONDS = 1.0


class LineWriter:
    """A bounded queue of lines and the thread that empties it. `lost` counts the lines that nobody will read."""

    def __init__(self, descriptor: int, *, max_lines: int = MAX_LINES) -> None:
        self._descriptor = descriptor
        self._max_lines = max_lines
        self._lines: deque[bytes] = deque()
        self._something = Event()
        self._hurry = Event()
        self._awake = False
        self._closing = False
        self.lost = 0
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        # The last lines before a crash are those that matter; by then nobody calls `close`.
        atexit.register(self.close)

    def write(self, line: bytes, *, hurry: bool = False) -> None:
        """Takes one line, with its newline. It is written within `BATCH_SECONDS`, at once with `hurry`."""
        if self._closing:
            self._write_last(line)
            return
        if len(self._lines) >= self._max_lines:
            self.lost += 1
            return
        self._lines.append(line)
        if not self._awake:
            # An Event costs a microsecond, so only the first line of a batch sets it.
            self._awake = True
            self._something.set()
        if hurry:
            self._hurry.set()

    def close(self) -> None:
        """Writes what is queued, for at most `CLOSE_SECONDS`; what is left then is lost."""
        atexit.unregister(self.close)
        self._closing = True
        self._hurry.set()
        self._something.set()
        self._thread.join(CLOSE_SECONDS)

    def _write_last(self, line: bytes) -> None:
        """The process ends: nobody empties the queue any more, and this line may say why it ends."""
        writable = select.select((), (self._descriptor,), (), 0)[1]
        if not writable or not self._put(line):
            self.lost += 1

    def _run(self) -> None:
        while not self._closing:
            self._something.wait()
            self._hurry.wait(BATCH_SECONDS)
            self._something.clear()
            self._hurry.clear()
            # From here on a new line sets the event again; one that came before is in the queue already.
            self._awake = False
            self._empty()
        self._empty()

    def _empty(self) -> None:
        while self._lines:
            count = min(len(self._lines), _BATCH_LINES)
            if not self._put(b"".join([self._lines.popleft() for _ in range(count)])):
                self.lost += count

    def _put(self, data: bytes) -> bool:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Somebody who shares the descriptor made it non-blocking.
                if not select.select((), (self._descriptor,), (), _FULL_PIPE_SECONDS)[1]:
                    return False
            except OSError:
                return False
        return True
