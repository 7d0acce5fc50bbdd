"""Face sets: a folder each, read into memory, and what of them is like a given photo.

    FACES_DIR/<face set>/<person>.jpg     or .jpeg, .png
    FACES_DIR/<face set>/<person>--2.jpg  another photo of the same person

The names that callers send are only ever looked up in a dictionary; no path is made of them. A changed folder is read
again by the next search that comes a second or more after the last look; unchanged photos are not decoded again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway.clock import Clock
from gateway.sandbox.parameters import SEARCHABLE_MONTHS, months_before
from gateway.sandbox.pictures import perceptual_hash
from gateway.sandbox.verdicts import Refused

_log = structlog.get_logger(__name__)

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_ASSUMED_AGE_SECONDS = 30 * 86400

_FileState = tuple[Path, int, int]


@dataclass(frozen=True, slots=True)
class Face:
    """One enrolled photo. `digest` tells an identical file, `hash` (None: shows nothing) a similar one."""

    person_id: int
    face_id: int
    create_time: int
    digest: bytes = field(repr=False)
    hash: int | None = field(repr=False)


class FaceSets:
    """The face sets of `folder`. Decodes photos on `executor`; looks for changes every `refresh_seconds`."""

    def __init__(self, folder: Path, *, executor: Executor, clock: Clock, refresh_seconds: float = 1.0) -> None:
        self._folder = folder
        self._executor = executor
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._state: Mapping[str, tuple[_FileState, ...]] = {}
        self._faces: dict[_FileState, Face | None] = {}
        self._sets: Mapping[str, tuple[Face, ...]] = {}
        self._looked_at = -refresh_seconds
        self._lock = asyncio.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._sets

    @property
    def sizes(self) -> dict[str, int]:
        """The number of enrolled photos by face set."""
        return {name: len(faces) for name, faces in self._sets.items()}

    async def get(self, name: str) -> tuple[Face, ...] | None:
        """The faces of a face set as its folder is now; None if there is no such face set."""
        if self._clock.monotonic() - self._looked_at >= self._refresh_seconds:
            try:
                await self.load()
            except OSError:
                # A file that went between two looks, or the folder itself: what was read before still serves.
                _log.warning("sandbox.folder_unreadable")
        return self._sets.get(name)

    async def load(self) -> None:
        """Reads what has changed. Raises `OSError` if the folder of folders cannot be read."""
        async with self._lock:
            self._looked_at = self._clock.monotonic()
            await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    def _load(self) -> None:
        state = {folder.name: tuple(_photos(folder)) for folder in _folders(self._folder)}
        if state == self._state:
            return
        known, self._faces = self._faces, {}
        sets = {name: tuple(self._enrol(name, photos, known)) for name, photos in state.items()}
        self._state, self._sets = state, sets

    def _enrol(self, name: str, photos: tuple[_FileState, ...], known: dict[_FileState, Face | None]) -> Iterator[Face]:
        for photo in photos:
            face = known[photo] if photo in known else self._read(name, photo)
            self._faces[photo] = face
            if face is not None:
                yield face

    def _read(self, name: str, photo: _FileState) -> Face | None:
        path, modified_ns, _ = photo
        try:
            content = path.read_bytes()
            value = perceptual_hash(content)
        except (OSError, Refused) as error:
            _log.warning("sandbox.photo_skipped", path=str(path), why=type(error).__name__)
            return None
        return Face(
            person_id=_stable_id(name, path.stem.partition("--")[0]),
            face_id=_stable_id(name, path.name, "face"),
            create_time=self._create_time(modified_ns // 10**9),
            digest=hashlib.sha256(content).digest(),
            hash=value,
        )

    def _create_time(self, modified: int) -> int:
        """The file's time; of a photo that is older than can be searched, or from the future, 30 days ago."""
        now = self._clock.now()
        if months_before(now, SEARCHABLE_MONTHS) < modified <= now:
            return modified
        return int(now) - _ASSUMED_AGE_SECONDS


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def _photos(folder: Path) -> Iterator[_FileState]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            status = path.stat()
            yield path, status.st_mtime_ns, status.st_size


def _stable_id(*names: str) -> int:
    """A positive 63-bit number that names always give again; nearly all are beyond 2^53, as in the vendor's sample."""
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).digest()
    return (int.from_bytes(digest[:8], "big") >> 1) or 1
