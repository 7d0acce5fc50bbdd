"""Small files are read whole within their limit, and also while every descriptor of the process is taken."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.files import DescriptorReserve, FileTooLarge, NotAFile, is_exhausted, read_file


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    """The limit itself is allowed."""
    file = tmp_path / "file"
    file.write_bytes(b"x" * 10)
    assert read_file(file, 10) == b"x" * 10
    with pytest.raises(FileTooLarge):
        read_file(file, 9)


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A FIFO would block its reader for ever."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(NotAFile):
            read_file(path, 10)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing", 10)
    with pytest.raises(OSError, match="not a path"):
        read_file(Path("a\0b"), 10)


def test_the_reserve_lends_and_takes_back() -> None:
    """It gives all that it holds, one after the other, and nothing once it is closed."""
    reserve = DescriptorReserve()
    with reserve.held(2):
        assert len(reserve) == 2
        assert [reserve.release() for _ in range(3)] == [True, True, False]
        reserve.refill()
        assert len(reserve) == 2
    assert len(reserve) == 0
    reserve.refill()
    assert len(reserve) == 0


def test_only_a_lack_of_descriptors_counts_as_one() -> None:
    """Of the process or of the machine."""
    assert is_exhausted(OSError(errno.EMFILE, ""))
    assert is_exhausted(OSError(errno.ENFILE, ""))
    assert not is_exhausted(FileNotFoundError(errno.ENOENT, ""))


@pytest.mark.parametrize(("reserved", "printed"), [(8, "[['new'], ['newer']] 0 8"), (0, "[] 1 0")])
def test_a_change_counts_while_connections_take_every_descriptor(tmp_path: Path, reserved: int, printed: str) -> None:
    """As often as the configuration changes; without the reserve it would not."""
    file = tmp_path / "facegate.yaml"
    file.write_text("tenants: [{id: old}]")
    limits = (96, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.without_descriptors", str(file), str(reserved)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
    )
    assert ran.stdout.splitlines()[-1:] == [printed], ran.stdout + ran.stderr
