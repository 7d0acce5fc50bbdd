"""How like an enrolled face a searched photo is. Remembers photos, so that a load test is not bound by decoding."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from gateway.sandbox.facesets import Face
from gateway.sandbox.parameters import Asked
from gateway.sandbox.pictures import HASH_BITS, MAX_IMAGE_BYTES, looks_like_photo, perceptual_hash
from gateway.sandbox.verdicts import Found, Refused, VendorStatus

HIGHEST_COPY_SCORE = 0.999
"""What a copy that is not the very same file scores at most."""


@dataclass(frozen=True, slots=True)
class _Photo:
    digest: bytes = field(repr=False)
    hash: int | None = field(repr=False)


class Matcher(Protocol):
    """Finds faces for a call. Raises `Refused` for an image that the vendor would refuse."""

    async def match(self, asked: Asked, faces: Iterable[Face]) -> list[Found]:
        """Those of `faces` that `asked` is answered with, most similar first."""
        ...


class HashMatcher:
    """Compares perceptual hashes.

    The score of an identical file is 1; of any other 1 - 2 d at d the share of differing bits, so that 0 is what
    unrelated photos have by chance. Decodes on `executor`; what was decoded is kept, by the image's bytes, up to
    `memory_bytes` of images.
    """

    def __init__(self, executor: Executor, memory_bytes: int = 32 * 1024 * 1024) -> None:
        self._executor = executor
        self._memory_bytes = memory_bytes
        self._held_bytes = 0
        self._photos: OrderedDict[bytes, _Photo] = OrderedDict()
        self._reading: dict[bytes, asyncio.Future[_Photo]] = {}

    async def match(self, asked: Asked, faces: Iterable[Face]) -> list[Found]:
        """See `Matcher`."""
        # Keyed by the bytes themselves: Python's own hash of 100 KB takes a tenth of the time of SHA-256.
        photo = self._photos.get(asked.image) or await self._read(asked.image)
        if asked.image in self._photos:
            self._photos.move_to_end(asked.image)
        found = []
        for face in faces:
            score = similarity(photo, face)
            if score >= asked.threshold and face.create_time >= asked.start_time:
                found.append(Found(face.person_id, face.face_id, score, face.create_time))
        return heapq.nsmallest(asked.top_n, found, key=lambda one: (-one.score, one.face_id))

    async def _read(self, image: bytes) -> _Photo:
        reading = self._reading.get(image)
        if reading is None:
            reading = asyncio.get_running_loop().run_in_executor(self._executor, _read, image)
            self._reading[image] = reading
            reading.add_done_callback(lambda done: self._was_read(image, done))
        # Others may wait for the same image: a caller that leaves must not take it from them.
        return await asyncio.shield(reading)

    def _was_read(self, image: bytes, reading: asyncio.Future[_Photo]) -> None:
        del self._reading[image]
        if reading.cancelled() or reading.exception() is not None:
            return
        self._photos[image] = reading.result()
        self._held_bytes += len(image)
        while self._held_bytes > self._memory_bytes and len(self._photos) > 1:
            oldest, _ = self._photos.popitem(last=False)
            self._held_bytes -= len(oldest)


class InstantMatcher:
    """Looks at no photo: every one that begins like a JPEG or PNG file is a near copy of the face set's first faces."""

    async def match(self, asked: Asked, faces: Iterable[Face]) -> list[Found]:
        """See `Matcher`."""
        if len(asked.image) > MAX_IMAGE_BYTES or not looks_like_photo(asked.image):
            raise Refused(VendorStatus.INVALID_ARGUMENT, "the image is not a JPEG or PNG file of at most 5 MB")
        if asked.threshold > HIGHEST_COPY_SCORE:
            return []
        recent = [face for face in faces if face.create_time >= asked.start_time]
        return [Found(f.person_id, f.face_id, HIGHEST_COPY_SCORE, f.create_time) for f in recent[: asked.top_n]]


def similarity(photo: _Photo | Face, face: Face) -> float:
    """How like each other two photos are, from 0 to 1."""
    if photo.digest == face.digest:
        return 1.0
    if photo.hash is None or face.hash is None:
        return 0.0
    score = 1 - 2 * (photo.hash ^ face.hash).bit_count() / HASH_BITS
    return round(min(max(score, 0.0), HIGHEST_COPY_SCORE), 6)


def _read(image: bytes) -> _Photo:
    return _Photo(hashlib.sha256(image).digest(), perceptual_hash(image))
