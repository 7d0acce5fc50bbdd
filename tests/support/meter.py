"""What a process costs: its resident memory and its processor time, from the kernel's accounting."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def processor_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def resident_mib(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process: now, or the most that it ever had."""
    label = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(label):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"the kernel reports no {label}")


class Meter:
    """Measures a process from the moment of its making on. `end` keeps the figures, since the process may end."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._began = processor_seconds(pid)
        self.at_rest_mib = resident_mib(pid)
        self.peak_mib = self.at_rest_mib
        self.seconds = 0.0

    def read(self) -> None:
        """Takes the figures up to now. Those of a process that has ended stay as they were."""
        with suppress(OSError, AssertionError):
            self.peak_mib = resident_mib(self._pid, peak=True)
            self.seconds = processor_seconds(self._pid) - self._began
