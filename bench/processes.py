"""Starts the parts of a measurement on their cores, reads what they cost, and always ends them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 20.0

# The measured server has a core to itself; the load and the vendor share the other.
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]


def free_port() -> int:
    """A port of the loopback that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A running part, pinned to a core."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.pid = popen.pid
        self._popen = popen
        self._log = log

    def cpu_seconds(self) -> float:
        """Processor time so far, user and system, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def memory_mib(self, *, peak: bool = False) -> float:
        """Resident memory, now or at most so far."""
        label = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"{self.name} reports no {label}")

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._popen.poll() is not None

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-8:])

    def stop(self) -> None:
        """Ends it, gently and then surely."""
        if self.ended():
            return
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    """What starts inside the block runs on `core` with all its threads: a process inherits its parent's cores."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, set(_CORES))


@contextmanager
def started(
    name: str, command: Sequence[str], *, core: int, environment: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A process that runs `command` on `core` until the block ends."""
    with tempfile.TemporaryDirectory(prefix="facegate-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as sink, _on_core(core):
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                # Ctrl-C is for the benchmark, which then ends its parts in order.
                start_new_session=True,
            )
        process = Process(name, popen, log)
        try:
            yield process
        finally:
            process.stop()


def pinned_popen(command: Sequence[str], core: int, *, python: bool = False) -> subprocess.Popen[str]:
    """A process on `core` whose stdin and stdout are ours, as text; `python` runs `command` by this interpreter."""
    with _on_core(core):
        return subprocess.Popen(
            [*([sys.executable] if python else []), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module of this repository."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def wait_for_port(process: Process, port: int) -> None:
    """Returns once `port` accepts connections; raises if the process ends first or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.ended():
            raise RuntimeError(f"{process.name} did not start:\n{process.log_tail()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise RuntimeError(f"{process.name} does not listen after {_START_SECONDS:.0f} s:\n{process.log_tail()}")
