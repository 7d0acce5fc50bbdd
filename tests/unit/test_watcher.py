"""Watched files: what changes on disk comes into force, what is bad on disk does not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway import watcher as module
from gateway.watcher import FileRejected, FileWatcher, WatchState, read_together
from tests.support.clock import ManualClock
from tests.support.mounted import Mounted


class Pair:
    """Two files that must match, as a certificate and its key do; holds the pair in force."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.loaded: list[str] = []

    def load(self) -> None:
        """Loads both or neither."""
        first, second = (content.decode() for content in read_together(self.paths).values())
        if first != second:
            raise FileRejected(self.paths[1], "does not match the file beside it")
        self.loaded.append(first)


class World:
    """A watcher that records what its listener is told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.told: list[WatchState] = []
        self.watcher = FileWatcher(clock=self.clock, listener=self.told.append, settle_seconds=0)


@pytest.fixture
def world() -> World:
    return World()


async def test_an_unchanged_file_is_not_loaded_again(world: World, tmp_path: Path) -> None:
    """Touching it or writing the same content is no change."""
    file = tmp_path / "tenants"
    file.write_text("a")
    loads: list[str] = []
    world.watcher.watch([file], lambda: loads.append(file.read_text()), "tenants")
    await world.watcher.poll()
    file.write_text("a")
    os.utime(file, (1, 1))
    await world.watcher.poll()

    assert loads == []
    assert world.told == []


async def test_a_change_of_the_same_size_and_time_is_seen(world: World, tmp_path: Path) -> None:
    """Contents count, not what `stat` tells: a coarse clock or a restored backup may keep both."""
    file = tmp_path / "token"
    file.write_text("a")
    os.utime(file, (1, 1))
    loads: list[str] = []
    world.watcher.watch([file], lambda: loads.append(file.read_text()), "token")
    file.write_text("b")
    os.utime(file, (1, 1))
    await world.watcher.poll()

    assert loads == ["b"]


async def test_a_change_between_registering_and_the_first_poll_is_seen(world: World, tmp_path: Path) -> None:
    """Registered first and loaded afterwards, a file has no moment in which a change is missed."""
    file = tmp_path / "ca"
    file.write_text("a")
    loads: list[str] = []
    world.watcher.watch([file], lambda: loads.append(file.read_text()), "ca")
    file.write_text("b")
    await world.watcher.poll()
    await world.watcher.poll()

    assert loads == ["b"]


async def test_files_that_are_not_loaded_yet_are_loaded_by_the_first_poll(world: World, tmp_path: Path) -> None:
    """Also if they appear later only; until then they are a problem that is named."""
    file = tmp_path / "jwks.json"
    loads: list[str] = []
    world.watcher.watch([file], lambda: loads.append(file.read_text()), "issuer's keys", loaded=False)
    await world.watcher.poll()
    assert world.watcher.problems() == (f"issuer's keys: {file} is missing",)

    file.write_text("keys")
    await world.watcher.poll()
    assert loads == ["keys"]
    assert world.watcher.problems() == ()


async def test_kubernetes_symlink_swaps_are_seen_whole(world: World, tmp_path: Path) -> None:
    """Twenty rotations of a pair by swapping `..data`: each comes into force, as a pair."""
    volume = Mounted(tmp_path, crt=b"0", key=b"0")
    pair = Pair([volume["crt"], volume["key"]])
    world.watcher.watch(pair.paths, pair.load, "server certificate")
    for rotation in range(1, 21):
        volume.swap(crt=b"%d" % rotation, key=b"%d" % rotation)
        await world.watcher.poll()

    assert pair.loaded == [str(rotation) for rotation in range(1, 21)]
    assert [state.problem for state in world.told] == [None] * 20


async def test_a_pair_is_never_read_across_a_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The volume is swapped after the first file was read: the reader starts again and gets the new pair."""
    volume = Mounted(tmp_path, crt=b"old", key=b"old")
    read, swaps = module._read, iter([b"new"])

    def swapped_in_the_middle(path: Path) -> bytes:
        if path.name == "key" and (version := next(swaps, None)) is not None:
            volume.swap(crt=version, key=version)
        return read(path)

    monkeypatch.setattr(module, "_read", swapped_in_the_middle)

    assert set(read_together([volume["crt"], volume["key"]]).values()) == {b"new"}


async def test_a_pair_that_does_not_match_is_bad_for_now(world: World, tmp_path: Path) -> None:
    """Files that are replaced one after the other: the last good pair stays until the second has followed."""
    crt, key = tmp_path / "crt", tmp_path / "key"
    crt.write_text("old")
    key.write_text("old")
    pair = Pair([crt, key])
    world.watcher.watch(pair.paths, pair.load, "server certificate")
    crt.write_text("new")
    await world.watcher.poll()
    assert pair.loaded == []
    assert world.watcher.problems() == (f"server certificate: {key} does not match the file beside it",)

    key.write_text("new")
    await world.watcher.poll()
    assert pair.loaded == ["new"]
    assert world.watcher.problems() == ()


async def test_a_bad_file_is_tried_again_at_every_poll_and_logged_once(world: World, tmp_path: Path) -> None:
    """What made it bad may lie elsewhere. Operators get one line when it turns bad and one when it recovers."""
    file = tmp_path / "tenants.yaml"
    file.write_text("good")
    attempts: list[str] = []

    def load() -> None:
        attempts.append(file.read_text())
        _parse(file)

    world.watcher.watch([file], load, "tenants")
    contents = ["secret-1", "secret-1", "secret-2", "secret-2"]
    with capture_logs() as logs:
        for content in contents:
            file.write_text(content)
            await world.watcher.poll()
        assert attempts == contents
        file.write_text("good")
        await world.watcher.poll()
        await world.watcher.poll()

    assert [line["event"] for line in logs] == ["files.rejected", "files.recovered"]
    assert [state.problem is None for state in world.told] == [False, True]
    assert "secret" not in f"{logs} {world.told}"


async def test_each_bad_file_of_a_group_is_told(world: World, tmp_path: Path) -> None:
    """An operator who has mended one and broken the other learns of it; a state says which of the files it is."""
    crt, key = tmp_path / "crt", tmp_path / "key"
    for file in (crt, key):
        file.write_text("1")
    pair = Pair([crt, key])
    world.watcher.watch(pair.paths, pair.load, "server certificate")
    with capture_logs() as logs:
        for broken in (crt, crt, key, key):
            for file in (crt, key):
                file.write_text("" if file is broken else "2")
            await world.watcher.poll()
        assert [state.rejected for state in world.told] == [{crt}, {key}]
        key.write_text("2")
        await world.watcher.poll()

    assert [line["event"] for line in logs] == ["files.rejected", "files.rejected", "files.recovered"]
    assert world.watcher.states()[0].files == (crt, key)
    assert world.watcher.states()[0].rejected == frozenset()


def _parse(file: Path) -> None:
    if file.read_text() != "good":
        raise ValueError(file.read_text())


def _remove(file: Path) -> None:
    file.unlink()


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _dangle(file: Path) -> None:
    file.unlink()
    file.symlink_to("gone")


def _loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _truncate(file: Path) -> None:
    file.write_bytes(b"")


def _fill(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(module.MAX_FILE_BYTES + 1)


def _open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


SPOILT: list[tuple[Callable[[Path], None], str]] = [
    (_remove, "is missing"),
    (_folder, "is not a regular file"),
    (_dangle, "is missing"),
    (_loop, "cannot be read"),
    (_pipe, "is not a regular file"),
    (_truncate, "is empty"),
    (_fill, "is too large"),
]


@pytest.mark.parametrize(("spoil", "fault"), SPOILT)
async def test_what_is_no_readable_file_keeps_the_last_good(
    world: World, tmp_path: Path, spoil: Callable[[Path], None], fault: str
) -> None:
    """Missing, a folder, a dangling or endless link, a pipe that would block, far too large: named, and harmless."""
    file, other = tmp_path / "ca.pem", tmp_path / "other"
    file.write_text("good")
    other.write_text("1")
    loads: list[str] = []
    world.watcher.watch([file], lambda: loads.append("file"), "client CA")
    world.watcher.watch([other], lambda: loads.append("other"), "other")
    spoil(file)
    other.write_text("2")
    descriptors = _open_descriptors()
    async with asyncio.timeout(30):
        for _ in range(3):
            await world.watcher.poll()

    assert loads == ["other"]
    (problem,) = world.watcher.problems()
    assert problem.startswith(f"client CA: {file} {fault}")
    assert _open_descriptors() == descriptors


async def test_a_file_that_changes_while_it_is_loaded_is_loaded_again(world: World, tmp_path: Path) -> None:
    """What is in force in the end is what is on disk."""
    file = tmp_path / "secret"
    file.write_text("1")
    loads: list[str] = []

    def load() -> None:
        loads.append(file.read_text())
        if file.read_text() == "2":
            file.write_text("3")

    world.watcher.watch([file], load, "secret")
    file.write_text("2")
    await world.watcher.poll()
    await world.watcher.poll()
    await world.watcher.poll()

    assert loads == ["2", "3"]


async def test_a_file_is_not_taken_while_it_is_being_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file can be a good one, with half of the tenants."""
    file = tmp_path / "tenants.yaml"
    file.write_text("before")
    loads: list[str] = []
    world.watcher.watch([file], lambda: loads.append(file.read_text()), "tenants")
    look, rest = module._look, iter([" second half"])

    def written_on_after_the_look(paths: Sequence[Path]) -> module._Contents:
        contents = look(paths)
        with file.open("a") as opened:
            opened.write(next(rest, ""))
        return contents

    file.write_text("first half")
    monkeypatch.setattr(module, "_look", written_on_after_the_look)
    await world.watcher.poll()
    assert loads == []
    assert world.told == []
    await world.watcher.poll()

    assert loads == ["first half second half"]


async def test_states_tell_when_a_group_was_loaded(world: World, tmp_path: Path) -> None:
    """The age of what is in force is an operator's metric."""
    file = tmp_path / "a"
    file.write_text("1")
    start = world.clock.now()
    world.watcher.watch([file], lambda: None, "a")
    world.clock.advance(10)
    await world.watcher.poll()
    assert world.watcher.states() == (WatchState("a", None, start, (file,)),)

    file.write_text("2")
    await world.watcher.poll()
    assert world.watcher.states() == (WatchState("a", None, start + 10, (file,)),)


async def test_run_polls_until_it_is_cancelled(tmp_path: Path) -> None:
    """A change comes into force by itself."""
    watcher = FileWatcher(clock=ManualClock(), interval_seconds=0.005)
    file = tmp_path / "a"
    file.write_text("1")
    loaded = asyncio.Event()
    watcher.watch([file], loaded.set, "a")
    running = asyncio.create_task(watcher.run())
    file.write_text("2")
    async with asyncio.timeout(30):
        await loaded.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
