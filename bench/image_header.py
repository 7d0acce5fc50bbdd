"""Times the reading of image headers and the decoding of a search, beside the `imagesize` library.

    python -m bench.image_header

Prints medians of several rounds, in microseconds of processor time a call, and the hostile files in milliseconds.
"""

from __future__ import annotations

import base64
import io
import statistics
import time
from collections.abc import Callable
from functools import partial

import imagesize
from facegate.search.v1 import face_search_service_pb2 as pb

from gateway.rpc.codec import decode_search, parse
from gateway.rpc.image_header import MAX_BYTES, ImageFault, read_image
from tests.support.images import assembled_jpeg, assembled_png, ihdr, jpeg_with_segments, photo, segment

NOW = 1_795_000_000.0
ROUNDS = 9


def microseconds(call: Callable[[], object], calls: int = 2000) -> float:
    """Processor time of one call, the median of `ROUNDS`."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(calls):
            call()
        rounds.append((time.process_time() - start) / calls * 1e6)
    return statistics.median(rounds)


def library_size(content: bytes) -> tuple[int, int]:
    """The size by the `imagesize` library."""
    width, height = imagesize.get(io.BytesIO(content))
    return int(width), int(height)


def refused(content: bytes) -> Callable[[], None]:
    """Reads `content`, which must be refused."""

    def call() -> None:
        try:
            read_image(content)
        except ImageFault:
            return
        raise AssertionError("was taken")

    return call


def hostile() -> dict[str, bytes]:
    """Files made to be slow to read."""
    fill = MAX_BYTES - 200
    small = assembled_jpeg()
    return {
        "all 0xFF": b"\xff\xd8" + b"\xff" * fill,
        "5 MB of empty APP segments": jpeg_with_segments(small, segment(0xE0, b"") * (fill // 4)),
        "5 MB of APP segments, 64 KiB each": jpeg_with_segments(small, segment(0xE2, bytes(65533)) * (fill // 65537)),
        "5 MB of zeros behind the end": small + bytes(fill),
        "5 MB of end marks, then a byte": small + b"\xff\xd9" * (fill // 2) + b"x",
        "PNG of 65535 x 65535": assembled_png(ihdr(65535, 65535)),
        "PNG of 400,000 empty chunks": assembled_png(ihdr(300, 300), b"\0\0\0\0tEXt\0\0\0\0" * (fill // 12)),
    }


def main() -> None:
    """Prints the figures."""
    for image_format in ("JPEG", "PNG"):
        content = photo(100, image_format)
        raw = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=content)).SerializeToString()
        request = parse(pb.SearchFaceRequest, raw)
        text = base64.b64encode(content).decode()
        encoded = pb.SearchFaceRequest(face_set="employees", image=pb.Image(base64=text))
        print(f"{image_format}, {len(content):,} bytes; microseconds a call")
        calls: dict[str, Callable[[], object]] = {
            "read_image": partial(read_image, content),
            "imagesize.get": partial(library_size, content),
            "reading image.content": partial(getattr, request.image, "content"),
            "decode_search": partial(decode_search, request, now=NOW),
            "parse": partial(parse, pb.SearchFaceRequest, raw),
            "decode_search, base64": partial(decode_search, encoded, now=NOW),
        }
        for name, call in calls.items():
            print(f"  {name:<22} {microseconds(call, 100 if 'base64' in name else 2000):8.1f}")
    print("hostile files; milliseconds until refused")
    for name, content in hostile().items():
        print(f"  {name:<34} {microseconds(refused(content), 10) / 1000:8.3f}")


if __name__ == "__main__":
    main()
