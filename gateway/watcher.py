"""The one watcher of every file that is re-read while the gateway runs.

Polls contents, not notifications: Kubernetes changes a mounted file by swapping a symlink two directories up, and not
every file system tells of that. The files are few and small. Knows nothing of what is in them: whoever registers a
group of files says how to load it, and a group that cannot be loaded leaves what was loaded before in force.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from gateway.clock import Clock
from gateway.files import FileTooLarge, NotAFile, read_file
from gateway.pace import off_loop

INTERVAL_SECONDS = 2.0
SETTLE_SECONDS = 0.05
RELOAD_SECONDS = 5.0
MAX_FILE_BYTES = 16 * 1024 * 1024

Reload = Callable[[], Awaitable[None] | None]

_READS = 5
_log = structlog.get_logger(__name__)


class FileRejected(Exception):
    """A watched file that cannot be used; `why` is a safe text for operators, without the file's content."""

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path}: {why}")


@dataclass(frozen=True, slots=True)
class WatchState:
    """A group of files: `problem` names the bad one, None if what is on disk is in force. `loaded_at` since 1970.

    `rejected` are the bad ones of `files`: all of them, if it cannot be told which.
    """

    name: str
    problem: str | None
    loaded_at: float
    files: tuple[Path, ...] = ()
    rejected: frozenset[Path] = frozenset()


Listener = Callable[[WatchState], None]


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a group's files hold: a digest of all, and the first that is empty."""

    digest: bytes
    empty: Path | None


class _Watch:
    __slots__ = ("digest", "loaded_at", "look", "name", "paths", "problem", "rejected", "reload", "seconds")

    def __init__(
        self, name: str, paths: tuple[Path, ...], reload: Reload, seconds: float, digest: bytes, loaded_at: float
    ) -> None:
        self.name = name
        self.paths = paths
        self.reload = reload
        self.seconds = seconds
        self.digest = digest
        self.loaded_at = loaded_at
        self.problem: str | None = None
        self.rejected: frozenset[Path] = frozenset()
        self.look: asyncio.Task[None] | None = None

    def state(self) -> WatchState:
        return WatchState(self.name, self.problem, self.loaded_at, self.paths, self.rejected)


class FileWatcher:
    """Groups of files, each with the call that loads it anew.

    `listener` is told the state of a group when it was loaded and when another file of it turned bad. A change is
    loaded once it is the same for `settle_seconds`, so that a file is not taken while it is being written.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        listener: Listener = lambda _state: None,
        interval_seconds: float = INTERVAL_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._clock = clock
        self._listener = listener
        self._interval_seconds = interval_seconds
        self._settle_seconds = settle_seconds
        self._watches: list[_Watch] = []

    def watch(
        self, paths: Sequence[Path], reload: Reload, name: str, *, loaded: bool = True, seconds: float | None = None
    ) -> None:
        """Watches a group of files that belong together, such as a certificate and its key.

        Reads them once, now: register a group first and load it afterwards, then no change in between is missed.
        With `loaded=False` the next `poll` loads it. `reload` reads the files by itself (with `read_together` if there
        are several), puts all of them in force or raises; `FileRejected` names the bad one. It is called again at every
        poll until it succeeds. It may take `seconds` (None: `RELOAD_SECONDS`); then it is cancelled.
        """
        group = tuple(Path(path) for path in paths)
        digest = b""
        if loaded:
            try:
                digest = _look(group).digest
            except FileRejected:
                digest = b""
        limit = RELOAD_SECONDS if seconds is None else seconds
        self._watches.append(_Watch(name, group, reload, limit, digest, self._clock.now()))

    def states(self) -> tuple[WatchState, ...]:
        """Every group."""
        return tuple(watch.state() for watch in self._watches)

    def problems(self) -> tuple[str, ...]:
        """What is wrong, for `/readyz`; empty if everything on disk is in force."""
        return tuple(f"{watch.name}: {watch.problem}" for watch in self._watches if watch.problem is not None)

    async def run(self) -> None:
        """Polls until it is cancelled."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.poll()

    async def poll(self) -> None:
        """Looks at every group once, and loads those that changed or could not be loaded before.

        At the same time, and without those that hang, as on a network volume that is gone: they must not hold up the
        one that revokes a token.
        """
        begun: list[asyncio.Task[None]] = []
        for watch in self._watches:
            if watch.look is None or watch.look.done():
                watch.look = asyncio.create_task(self._poll(watch))
                begun.append(watch.look)
        try:
            # What an earlier poll began is not waited for again: the others are looked at as often as ever.
            if begun:
                await asyncio.wait(begun, timeout=RELOAD_SECONDS)
        except asyncio.CancelledError:
            for watch in self._watches:
                if watch.look is not None:
                    watch.look.cancel()
            raise
        for watch in self._watches:
            if watch.look is not None and not watch.look.done() and watch.seconds <= RELOAD_SECONDS:
                self._reject_slow(watch)

    async def _poll(self, watch: _Watch) -> None:
        try:
            contents = await off_loop(partial(_look, watch.paths))
            if contents.digest != watch.digest:
                await asyncio.sleep(self._settle_seconds)
                if await off_loop(partial(_look, watch.paths)) != contents:
                    return  # still being written: the next poll sees more
                if contents.empty is not None:
                    # What was cut off in writing must not pass for a file that is empty on purpose.
                    raise FileRejected(contents.empty, "is empty")
            elif watch.problem is None:
                return
            await self._load(watch, contents.digest)
        except FileRejected as rejected:
            self._reject(watch, f"{rejected.path} {rejected.why}", (rejected.path,))
        except TimeoutError:
            self._reject_slow(watch)
        except Exception as error:  # noqa: BLE001 - one bad file must not end the watch over the others
            self._reject(watch, f"{_names(watch.paths)} cannot be used ({type(error).__name__})", watch.paths)

    async def _load(self, watch: _Watch, digest: bytes) -> None:
        async with asyncio.timeout(watch.seconds):
            result = watch.reload()
            if inspect.isawaitable(result):
                await result
        # If the files changed while they were loaded, the digest is not theirs and the next poll loads them again.
        recovered = watch.problem is not None
        watch.digest, watch.problem, watch.loaded_at = digest, None, self._clock.now()
        watch.rejected = frozenset()
        self._listener(watch.state())
        _log.info("files.recovered" if recovered else "files.reloaded", files=watch.name)

    def _reject_slow(self, watch: _Watch) -> None:
        self._reject(watch, f"{_names(watch.paths)} took too long to load", watch.paths)

    def _reject(self, watch: _Watch, problem: str, files: Sequence[Path]) -> None:
        before, watch.problem, watch.rejected = watch.rejected, problem, frozenset(files)
        # It is tried again at every poll, and told once.
        if watch.rejected != before:
            self._listener(watch.state())
            _log.warning("files.rejected", files=watch.name, problem=problem)


def read_together(paths: Sequence[Path]) -> dict[Path, bytes]:
    """Contents of files that were there at the same time: read until two readings in a row agree.

    Blocks; call it off the event loop. Raises `FileRejected` for a file that is missing, unreadable, not regular or
    larger than `MAX_FILE_BYTES`, or if the files do not come to rest.
    """
    before: dict[Path, bytes] | None = None
    for _ in range(_READS):
        now = {path: _read(path) for path in paths}
        if now == before or len(now) == 1:
            return now
        before = now
    raise FileRejected(paths[0], "and the files beside it keep changing")


def _read(path: Path) -> bytes:
    try:
        return read_file(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise FileRejected(path, "is missing") from None
    except NotAFile:
        raise FileRejected(path, "is not a regular file") from None
    except FileTooLarge:
        raise FileRejected(path, f"is too large: at most {MAX_FILE_BYTES} bytes (16 MiB) are read") from None
    except OSError as error:
        raise FileRejected(path, f"cannot be read ({type(error).__name__})") from None


def _look(paths: Sequence[Path]) -> _Contents:
    whole = hashlib.blake2b(digest_size=32)
    empty = None
    for path, content in read_together(paths).items():
        whole.update(len(content).to_bytes(8, "big"))
        whole.update(content)
        if not content:
            empty = empty or path
    return _Contents(whole.digest(), empty)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))
