"""Writing lines: never waits, never fails, loses the least important first, and never joins two lines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from gateway.telemetry import lines
from gateway.telemetry.lines import LineWriter, Queue
from tests.support.tools import ROOT


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Returns once `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends to read and to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_lines_are_written_soon_and_in_order(pipe: tuple[int, int]) -> None:
    """Within a twentieth of a second or so, many at once."""
    read, write = pipe
    writer = LineWriter(write)
    for number in range(1000):
        writer.write(b"%d\n" % number)
    writer.close()
    assert sum(writer.lost) == 0
    assert os.read(read, 100_000) == b"".join(b"%d\n" % number for number in range(1000))


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.timed
def test_a_full_pipe_costs_lines_and_nothing_else(blocking: bool) -> None:
    """Nobody reads: `write` stays quick, the queue stays bounded, what is lost is counted."""
    read, write = os.pipe()
    os.set_blocking(write, blocking)
    writer = LineWriter(write, max_lines=100)
    line = b"x" * 4095 + b"\n"
    started = time.perf_counter()
    for _ in range(2000):
        writer.write(line, Queue.CALLS)
    assert time.perf_counter() - started < 1.0
    assert writer.lost[Queue.CALLS] > 1000
    assert max(map(len, writer._queues)) <= 100
    started = time.perf_counter()
    writer.close()
    assert time.perf_counter() - started < 1.5
    os.close(read)
    until(lambda: not writer._thread.is_alive())
    os.close(write)


def test_a_flood_in_a_later_queue_costs_no_line_of_an_earlier_one(pipe: tuple[int, int]) -> None:
    """Nobody reads while strangers' lines flood; then audit comes first, whole, and what is lost is theirs."""
    read, write = pipe
    writer = LineWriter(write, max_lines=100)
    filler = b"x" * 1023 + b"\n"
    for _ in range(1000):
        writer.write(filler, Queue.STRANGERS)
    # The writer waits for the reader, with a batch of strangers' lines in hand.
    until(lambda: len(writer._queues[Queue.STRANGERS]) <= 100 and writer.lost[Queue.STRANGERS] > 0)
    for number in range(100):
        writer.write(b"call %d\n" % number, Queue.CALLS)
        writer.write(b"audit %d\n" % number, Queue.AUDIT)
        writer.write(filler, Queue.STRANGERS)
    got = bytearray()

    def read_all() -> None:
        while part := os.read(read, 65536):
            got.extend(part)
            if b"end\n" in got:
                return

    reader = threading.Thread(target=read_all)
    reader.start()
    until(lambda: not any(writer._queues))
    writer.write(b"end\n", Queue.STRANGERS)
    writer.close()
    reader.join(5)
    found = [line for line in bytes(got).splitlines() if not line.startswith(b"x")]
    audit = [b"audit %d" % number for number in range(100)]
    calls = [b"call %d" % number for number in range(100)]
    assert found == [*audit, *calls, b"end"]
    assert writer.lost[:3] == [0, 0, 0]
    assert writer.lost[Queue.STRANGERS] > 900


def test_a_broken_pipe_costs_lines_and_nothing_else() -> None:
    """The reader is gone; SIGPIPE is ignored by Python, and the error stays in the writer."""
    read, write = os.pipe()
    os.close(read)
    writer = LineWriter(write)
    writer.write(b"one\n")
    until(lambda: sum(writer.lost) == 1)
    assert writer.stuck
    writer.write(b"two\n", Queue.AUDIT)
    writer.close()
    assert (writer.lost[Queue.GATEWAY], writer.lost[Queue.AUDIT]) == (1, 1)
    os.close(write)


def test_without_a_descriptor_every_line_is_counted_as_lost() -> None:
    """A process that was started with stdout closed goes on."""
    writer = LineWriter(None)
    writer.write(b"one\n", Queue.AUDIT, hurry=True)
    writer.close()
    writer.write(b"two\n", Queue.AUDIT)
    assert (writer.lost[Queue.AUDIT], writer.stuck) == (2, True)


def test_a_full_disk_costs_nothing_that_the_queue_can_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`/dev/full` refuses as a full disk does; once there is room, the lines that waited are written."""
    monkeypatch.setattr(lines, "RETRY_SECONDS", 0.01)
    descriptor = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(descriptor, max_lines=50)
    writer.write(b"first\n")
    until(lambda: writer.stuck)
    for number in range(60):
        writer.write(b"%d\n" % number, Queue.AUDIT)
    assert writer.lost[Queue.AUDIT] == 10
    file = tmp_path / "log"
    room = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.dup2(room, descriptor)
    until(lambda: not any(writer._queues) and not writer.stuck)
    writer.close()
    os.close(room)
    os.close(descriptor)
    assert file.read_bytes() == b"first\n" + b"".join(b"%d\n" % number for number in range(50))
    assert writer.lost == [10, 0, 0, 0]


# A file that may be no longer than 1,000 bytes is a disk that is full in the middle of a line.
CUT = """
import os, resource, sys, time
from gateway.telemetry import lines
lines.RETRY_SECONDS = 0.01
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
writer = lines.LineWriter(descriptor)
for number in range(100):
    writer.write(b'{"number": %d, "text": "' % number + b"x" * 300 + b'"}\\n')
while not writer.stuck:
    time.sleep(0.001)
print(os.fstat(descriptor).st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
writer.close()
print(sum(writer.lost))
"""


def test_a_line_that_a_full_disk_cut_is_finished_later(tmp_path: Path) -> None:
    """Each line stays one that can be parsed, and none is lost."""
    file = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", CUT, str(file)], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("1000\n0\n", "")
    assert [orjson.loads(line)["number"] for line in file.read_bytes().splitlines()] == list(range(100))


def test_a_line_whose_rest_is_lost_is_not_joined_with_the_next(tmp_path: Path) -> None:
    """The reader of a named pipe leaves in the middle of a line; the next reader gets whole lines from the second on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write = os.open(fifo, os.O_WRONLY)
    writer = LineWriter(write)
    # Longer than a pipe holds, so that it is cut.
    writer.write(b"a" * 100_000 + b"\n")
    os.set_blocking(first, True)
    assert os.read(first, 10) == b"a" * 10
    os.close(first)
    until(lambda: sum(writer.lost) == 1)
    second = os.open(fifo, os.O_RDONLY)
    writer.write(b"whole\n")
    got = b""
    while not got.endswith(b"whole\n"):
        got += os.read(second, 200_000)
    writer.close()
    os.close(second)
    os.close(write)
    assert got.split(b"\n")[1:] == [b"whole", b""]
    assert sum(writer.lost) == 1
