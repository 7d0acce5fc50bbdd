"""The folder of a running demo; those of demos that were killed are removed by the next one."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "facegate-demo-"


@contextmanager
def demo_folder() -> Iterator[Path]:
    """A new folder that only this user reads, removed on leaving."""
    _remove_stale()
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        descriptor = _locked(folder)
        if descriptor is not None:
            break
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_stale() -> None:
    """Removes this user's folders that no running demo holds."""
    # The system drops a process's locks with the process, so a folder that can be locked belongs to a dead one. A process
    # id would not do: another process may have it by now, or the demo may run in another container.
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        descriptor = _locked(folder)
        if descriptor is not None:
            # It refuses links, and follows none inside.
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the lock of `folder`; None if it is another user's, in use, gone or no folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    with suppress(OSError):
        found = os.fstat(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between the two steps another demo may have removed it as stale: then this raises.
        os.lstat(folder)
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700:
            return descriptor
    os.close(descriptor)
    return None
