"""A group of processes with an amount of memory, as a container has: cgroup v1 or v2, by root alone."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))


@dataclass(frozen=True)
class MemoryCgroup:
    """The group. `enter` is a command that goes into it and runs the rest of its arguments there."""

    folder: Path

    @property
    def enter(self) -> tuple[str, ...]:
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    def peak_mib(self) -> float:
        """The most memory that it ever took, with the kernel's buffers and page cache."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            if (self.folder / name).exists():
                return int((self.folder / name).read_text()) / (1 << 20)
        return float("nan")

    def kills(self) -> int:
        """How many of its processes the kernel killed for want of memory."""
        for name in ("memory.oom_control", "memory.events"):
            if (self.folder / name).exists():
                counts = dict(line.split() for line in (self.folder / name).read_text().splitlines())
                return int(counts["oom_kill"])
        raise AssertionError("the kernel counts no kills")


@contextmanager
def memory_cgroup(limit_bytes: int) -> Iterator[MemoryCgroup]:
    """A group with this limit; without one the calling test is skipped, and says so."""
    folder = _made(limit_bytes)
    if folder is None:
        pytest.skip("no memory cgroup can be made here: that needs root and a writable /sys/fs/cgroup")
    try:
        yield MemoryCgroup(folder)
    finally:
        # Its processes have ended; the kernel may need a moment to notice.
        for _ in range(100):
            try:
                folder.rmdir()
                break
            except OSError:
                os.sched_yield()


def _made(limit_bytes: int) -> Path | None:
    for root in _ROOTS:
        folder = root / f"facegate-test-{uuid.uuid4().hex[:8]}"
        for limit in ("memory.limit_in_bytes", "memory.max"):
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                if not (folder / limit).exists():
                    continue
                (folder / limit).write_text(str(limit_bytes))
                swap = folder / "memory.swap.max"
                if swap.exists():
                    swap.write_text("0")
                return folder
        with suppress(OSError):
            folder.rmdir()
    return None
