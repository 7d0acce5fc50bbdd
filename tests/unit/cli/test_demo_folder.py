"""The folder of a demo, and what becomes of those whose demo was killed."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from gateway.cli.demo_folder import PREFIX, demo_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary files that is this test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left_behind(temporary: Path, name: str = "dead", mode: int = 0o700) -> Path:
    """A folder as a killed demo leaves it."""
    folder = temporary / f"{PREFIX}{name}"
    folder.mkdir()
    (folder / "gateway.log").write_text("{}")
    folder.chmod(mode)
    return folder


def test_a_folder_goes_with_its_demo() -> None:
    """And nobody else can look into it."""
    with demo_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "api_secret").write_text("x")
    assert not folder.exists()


def test_a_folder_that_nobody_holds_goes_at_the_next_start(temporary: Path) -> None:
    """Its demo was killed, so its lock is gone."""
    dead = left_behind(temporary)
    with demo_folder():
        assert not dead.exists()


def test_a_folder_in_use_stays(temporary: Path) -> None:
    """Of a demo that runs at the same time, in whatever container."""
    with demo_folder() as first:
        with demo_folder() as second:
            assert first.exists()
            assert second != first
        assert first.exists()


def test_what_is_not_a_demos_stays(temporary: Path) -> None:
    """Other modes than a demo gives, links, files, and other users' folders."""
    shared = left_behind(temporary, "shared", 0o755)
    (temporary / f"{PREFIX}file").write_text("x")
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    with demo_folder():
        pass
    assert shared.exists()
    assert elsewhere.exists()
    assert (temporary / f"{PREFIX}link").is_symlink()
    assert (temporary / f"{PREFIX}file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_stays(temporary: Path) -> None:
    """Even for root, who could remove it."""
    folder = left_behind(temporary)
    os.chown(folder, 12345, 12345)
    with demo_folder():
        assert folder.exists()


def test_a_new_folder_that_another_start_takes_for_stale_is_given_up(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the making and the locking of a folder another demo may lock it: then a second one is made."""
    made: list[str] = []
    make, held = tempfile.mkdtemp, []

    def taken_once(prefix: str) -> str:
        made.append(make(prefix=prefix))
        if len(made) == 1:
            held.append(os.open(made[0], os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", taken_once)
    with demo_folder() as folder:
        assert str(folder) == made[1]
    os.close(held[0])


def test_a_new_folder_that_another_start_removes_is_given_up(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a folder that is gone protects nothing."""
    lock, removed = fcntl.flock, list[Path]()

    def late(descriptor: int, operation: int) -> None:
        if not removed:
            removed.extend(temporary.iterdir())
            removed[0].rmdir()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with demo_folder() as folder:
        assert folder.exists()
        assert folder not in removed
