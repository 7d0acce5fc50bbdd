"""Files that take for ever do not keep others from coming into force."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import watcher as module
from gateway.watcher import FileWatcher
from tests.support.clock import ManualClock


@pytest.fixture
def watcher() -> FileWatcher:
    return FileWatcher(clock=ManualClock(), settle_seconds=0)


async def test_a_file_that_cannot_be_read_to_its_end_does_not_stop_the_others(
    watcher: FileWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that is gone holds its reader for ever: it is named, it takes one thread, and it recovers."""
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.05)
    lost, tenants = tmp_path / "lost", tmp_path / "tenants"
    lost.write_text("x")
    tenants.write_text("0")
    loads: list[str] = []
    watcher.watch([lost], lambda: loads.append("lost"), "lost")
    watcher.watch([tenants], lambda: loads.append(tenants.read_text()), "tenants")
    look, back, readers = module._look, threading.Event(), []

    def hang(paths: Sequence[Path]) -> module._Contents:
        if lost in paths and not back.is_set():
            readers.append(paths)
            back.wait(10)
        return look(paths)

    monkeypatch.setattr(module, "_look", hang)
    try:
        for version in "123":
            tenants.write_text(version)
            async with asyncio.timeout(30):
                while version not in loads:
                    await watcher.poll()
        assert loads == ["1", "2", "3"]
        assert len(readers) == 1
        assert watcher.problems() == (f"lost: {lost} took too long to load",)
    finally:
        back.set()
    async with asyncio.timeout(30):
        while watcher.problems():
            await watcher.poll()


async def test_a_load_that_hangs_does_not_stop_the_others(
    watcher: FileWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revoked token must be dead within 10 s, whatever another group does."""
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.01)
    slow, tenants = tmp_path / "slow", tmp_path / "tenants"
    loads: list[str] = []

    async def hang() -> None:
        await asyncio.Event().wait()

    watcher.watch([slow], hang, "slow", loaded=False)
    watcher.watch([tenants], lambda: loads.append("tenants"), "tenants", loaded=False)
    slow.write_text("x")
    tenants.write_text("x")
    await watcher.poll()

    assert loads == ["tenants"]
    assert watcher.problems() == (f"slow: {slow} took too long to load",)


def test_the_poll_leaves_room_for_the_ten_seconds() -> None:
    """Kubernetes' own delay aside, a change is in force within 10 s: the pause, and other groups that hang."""
    assert module.INTERVAL_SECONDS + module.RELOAD_SECONDS < 10


async def test_a_long_load_neither_counts_as_a_fault_nor_delays_the_others(
    watcher: FileWatcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a configuration of 10,000 tenants, which may take a minute: only the poll that begins it waits for it."""
    large, small = tmp_path / "large", tmp_path / "small"
    for file in (large, small):
        file.write_text("0")
    loads: list[str] = []
    go_on = asyncio.Event()

    async def load_large() -> None:
        await go_on.wait()
        loads.append("large")

    watcher.watch([large], load_large, "large", loaded=False, seconds=60)
    watcher.watch([small], lambda: loads.append(small.read_text()), "small")
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.05)
    await watcher.poll()
    monkeypatch.setattr(module, "RELOAD_SECONDS", 30)
    async with asyncio.timeout(30):
        for version in "12":
            small.write_text(version)
            while version not in loads:
                await watcher.poll()
        assert watcher.problems() == ()
        go_on.set()
        while "large" not in loads:
            await watcher.poll()
            await asyncio.sleep(0)
