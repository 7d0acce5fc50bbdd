"""Writes lines to a file descriptor off the event loop, in batches. Never blocks and never fails whoever logs.

Lines wait in four queues, each bounded, and the writer always takes from the first that has any: behind a slow reader a
flood in one queue costs lines of that queue and of later ones, never of earlier ones. A full, broken or closed descriptor
costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
from collections import deque
from enum import IntEnum
from threading import Event, Thread

BATCH_SECONDS = 0.04
MAX_LINES = 8192
CLOSE_SECONDS = 1.0
RETRY_SECONDS = 0.25
_BATCH_LINES = 256
_FULL_PIPE_SECONDS = 1.0
# The reader is gone or the descriptor is closed. After any other error, a full disk say, the same bytes may go later.
_GONE = frozenset({errno.EPIPE, errno.EBADF})


class Queue(IntEnum):
    """Where a line waits, first to be written first."""

    AUDIT = 0
    """Audit events of authenticated callers, of operators, and sums."""
    GATEWAY = 1
    """What the gateway says of itself."""
    CALLS = 2
    """Calls of authenticated callers."""
    STRANGERS = 3
    """Calls of callers that are not authenticated."""

    @property
    def label(self) -> str:
        """The value of the metric's label."""
        return self.name.lower()


class LineWriter:
    """The queues of lines and the thread that empties them. `lost` counts lines that nobody will read, by queue.

    Without a descriptor every line is lost. `stuck` says whether the descriptor refused what was last written to it.
    """

    def __init__(self, descriptor: int | None, *, max_lines: int = MAX_LINES) -> None:
        self._descriptor = -1 if descriptor is None else descriptor
        self._max_lines = 0 if descriptor is None else max_lines
        self._queues: tuple[deque[bytes], ...] = tuple(deque() for _ in Queue)
        # What is being written: lines of one queue. The first may be written in part.
        self._rest = b""
        self._rest_queue = Queue.GATEWAY
        # Whether the last byte that was written is inside a line.
        self._inside_line = False
        self._something = Event()
        self._hurry = Event()
        self._closing = Event()
        self._awake = False
        self.lost = [0] * len(Queue)
        self.stuck = descriptor is None
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()
        # The last lines before a crash are those that matter; by then nobody calls `close`.
        atexit.register(self.close)

    def write(self, line: bytes, queue: Queue = Queue.GATEWAY, *, hurry: bool = False) -> None:
        """Takes one line, with its newline. It is written within `BATCH_SECONDS`, at once with `hurry`."""
        lines = self._queues[queue]
        if len(lines) >= self._max_lines:
            self.lost[queue] += 1
            return
        if self._closing.is_set():
            self._write_last(line, queue)
            return
        lines.append(line)
        if not self._awake:
            # An Event costs a microsecond, so only the first line of a batch sets it.
            self._awake = True
            self._something.set()
        if hurry:
            self._hurry.set()

    def close(self) -> None:
        """Writes what is queued, for at most `CLOSE_SECONDS`; what is left then is lost."""
        atexit.unregister(self.close)
        self._closing.set()
        self._hurry.set()
        self._something.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            return
        self._lose_rest()
        for queue, lines in zip(Queue, self._queues, strict=True):
            self.lost[queue] += len(lines)
            lines.clear()

    def _write_last(self, line: bytes, queue: Queue) -> None:
        """The process ends: nobody empties the queues any more, and this line may say why it ends."""
        if self._thread.is_alive() or not select.select((), (self._descriptor,), (), 0)[1]:
            self.lost[queue] += 1
            return
        self._load([line], queue)
        self._put()
        self._lose_rest()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._something.wait()
            self._hurry.wait(BATCH_SECONDS)
            self._something.clear()
            self._hurry.clear()
            # From here on a new line sets the event again; one that came before is in the queue already.
            self._awake = False
            if not self._empty():
                self._closing.wait(RETRY_SECONDS)
                self._something.set()
        self._empty()

    def _empty(self) -> bool:
        """Writes all that is queued, the first queue first. False if the descriptor takes no more for now."""
        while True:
            if not self._rest:
                queue = next((queue for queue in Queue if self._queues[queue]), None)
                if queue is None:
                    return True
                lines = self._queues[queue]
                self._load([lines.popleft() for _ in range(min(len(lines), _BATCH_LINES))], queue)
            if not self._put():
                return False

    def _load(self, lines: list[bytes], queue: Queue) -> None:
        # A line whose rest was lost must not be joined with the next one.
        self._rest = (b"\n" if self._inside_line else b"") + b"".join(lines)
        self._rest_queue = queue

    def _put(self) -> bool:
        """Writes the rest. False if it has to be tried again later: what is left of it then still belongs there."""
        while self._rest:
            try:
                written = os.write(self._descriptor, self._rest)
            except BlockingIOError:
                # Somebody who shares the descriptor made it non-blocking.
                if not select.select((), (self._descriptor,), (), _FULL_PIPE_SECONDS)[1]:
                    self.stuck = True
                    return False
            except OSError as error:
                self.stuck = True
                if error.errno not in _GONE:
                    return False
                self._lose_rest()
            else:
                self.stuck = False
                self._inside_line = self._rest[written - 1 : written] != b"\n"
                self._rest = self._rest[written:]
        return True

    def _lose_rest(self) -> None:
        # The newline in front ends an earlier line, not one of these.
        self.lost[self._rest_queue] += self._rest.removeprefix(b"\n").count(b"\n")
        self._rest = b""
