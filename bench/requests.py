"""The requests that the load is made of: one photo of an exact size, or as many different ones as there are calls."""

from __future__ import annotations

import io
import random
import struct
import time
from dataclasses import dataclass

from facegate.search.v1 import face_search_service_pb2 as pb
from PIL import Image

FACE_SET = "employees"
_MARK = b"\x00" * 16
_LOOK_BACK_SECONDS = 30 * 86_400


def photo(size_bytes: int) -> bytes:
    """A JPEG of exactly `size_bytes`: a small picture, with comments before its end that fill it up.

    The last comment ends in 16 zero bytes, which `Requests` overwrites to make each image another one.
    """
    picture = Image.frombytes("RGB", (256, 256), random.Random(7).randbytes(256 * 256 * 3))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=30)
    content = encoded.getvalue()
    filled = content[:-2]
    while (missing := size_bytes - len(filled) - 2) > 0:
        length = min(missing, 60_000)
        if 0 < missing - length < 64:
            length -= 64
        filler = random.Random(missing).randbytes(length - 4 - len(_MARK)) + _MARK
        filled += b"\xff\xfe" + struct.pack(">H", length - 2) + filler
    return filled + content[-2:]


@dataclass(frozen=True)
class Requests:
    """Serialized requests. `head` and `tail` enclose the 16 bytes that make an image unlike every other."""

    head: bytes
    tail: bytes

    @classmethod
    def of(cls, image_bytes: int, cache_mode: str) -> Requests:
        request = pb.SearchFaceRequest(face_set=FACE_SET, image=pb.Image(content=photo(image_bytes)))
        head, _, tail = request.SerializeToString().rpartition(_MARK)
        rest = pb.SearchFaceRequest(cache_control=pb.CacheControl(mode=pb.CacheMode.Value(cache_mode)))
        # One question for the whole run: the default start moves on with the clock, and a cache that is asked for a
        # refresh each second keeps the answers to several questions side by side.
        rest.start_time.seconds = int(time.time()) - _LOOK_BACK_SECONDS
        return cls(head, tail + rest.SerializeToString())

    @property
    def same(self) -> bytes:
        """The request that is repeated where the image may be the same."""
        return self.head + b"FaceGate bench\x00\x00" + self.tail

    def unlike(self) -> bytes:
        """A request with an image that was never sent before."""
        return self.head + random.SystemRandom().randbytes(len(_MARK)) + self.tail
