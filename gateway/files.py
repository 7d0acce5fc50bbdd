"""Reads small files whole, also while connections use up all of the process's descriptors.

Every file that is read again while the gateway runs is read by `read_file`: a revoked token must not stay good because a
stranger holds every descriptor. `RESERVE` keeps some on `/dev/null` and lends them when there is no other.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RESERVED_DESCRIPTORS = 8

_EXHAUSTED = (errno.EMFILE, errno.ENFILE)


class FileTooLarge(OSError):
    """The file is larger than its reader allows."""


class NotAFile(OSError):
    """A directory, a FIFO or a device in place of a regular file."""


class DescriptorReserve:
    """Descriptors that are kept back. Safe to use from any thread."""

    def __init__(self) -> None:
        self._held: list[int] = []
        self._size = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Descriptors that are held now."""
        return len(self._held)

    @contextmanager
    def held(self, size: int = RESERVED_DESCRIPTORS) -> Iterator[None]:
        """Keeps `size` descriptors back for the body of the `with` statement."""
        self._size = size
        self.refill()
        try:
            yield
        finally:
            self._size = 0
            while self.release():
                pass

    def refill(self) -> None:
        """Takes back what was lent, as far as descriptors are free."""
        with self._lock:
            while len(self._held) < self._size:
                try:
                    self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
                except OSError:
                    return

    def release(self) -> bool:
        """Frees one descriptor for whoever needs it; false if none is held. `refill` takes it back later.

        Another thread may take the freed one first, so try again until it returns false.
        """
        with self._lock:
            if not self._held:
                return False
            os.close(self._held.pop())
            return True


RESERVE = DescriptorReserve()
"""The process's own; `app` holds it while the gateway runs."""


def is_exhausted(error: OSError) -> bool:
    """Whether the process, or the machine, has no descriptor left."""
    return error.errno in _EXHAUSTED


def read_file(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Raises `FileTooLarge`, `NotAFile` or another `OSError`. It lends itself a descriptor of `RESERVE` if there is no other.
    """
    try:
        descriptor = _open(path)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotAFile(0, "not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                content = opened.read(max_bytes + 1)
        finally:
            os.close(descriptor)
    finally:
        RESERVE.refill()
    if len(content) > max_bytes:
        raise FileTooLarge(errno.EFBIG, f"larger than {max_bytes} bytes")
    return content


def _open(path: Path) -> int:
    while True:
        try:
            # A FIFO in place of a file would block its reader for ever.
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except ValueError:
            raise OSError(errno.EINVAL, "not a path") from None
        except OSError as error:
            if not is_exhausted(error) or not RESERVE.release():
                raise
