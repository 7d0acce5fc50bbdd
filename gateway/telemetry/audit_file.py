"""Writes audit events to a file of their own, and follows it when it is rotated."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from gateway.telemetry.lines import LineWriter

# Its group may read it, such as the shipper beside the gateway.
_MODE = 0o640


class AuditFileUnusable(Exception):
    """The file cannot be written; the message says why."""


class AuditFile(LineWriter):
    """A `LineWriter` to the end of `path`, which is made if it is not there. Raises `AuditFileUnusable`.

    When the path leads to another file, or to none, later lines go to a new one: `logrotate` needs neither a signal nor
    `copytruncate`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            descriptor = self._open()
        except OSError as error:
            raise AuditFileUnusable(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from None
        super().__init__(descriptor)
        self._closed = False

    def close(self) -> None:
        """See `LineWriter.close`."""
        super().close()
        if not self._thread.is_alive() and not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _put(self) -> bool:
        # In the writer's thread, once a batch. A line that was begun ends where it began.
        if not self._inside_line and self._moved():
            with suppress(OSError):
                new = self._open()
                os.dup2(new, self._descriptor)
                os.close(new)
        return super()._put()

    def _moved(self) -> bool:
        try:
            there, here = self._path.stat(), os.fstat(self._descriptor)
        except OSError:
            return True
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)
