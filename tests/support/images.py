"""Makes images for tests: real files by Pillow, and small ones assembled by hand for what no encoder would write."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from random import Random
from typing import Any

from PIL import Image

FLIP_TOP_BOTTOM = Image.Transpose.FLIP_TOP_BOTTOM
MODES_OF_JPEG = ("L", "RGB", "CMYK")
MODES_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def picture(width: int = 320, height: int = 240, mode: str = "RGB", *, seed: int = 1, noise: int = 12) -> Image.Image:
    """A gradient with noise; the same arguments make the same picture. More `noise` makes larger files."""
    ramp = Image.linear_gradient("L").resize((width, height))
    gradient = Image.merge("RGB", (ramp.rotate(90).resize((width, height)), ramp, ramp.transpose(FLIP_TOP_BOTTOM)))
    static = Image.frombytes("RGB", (width, height), Random(seed).randbytes(width * height * 3))
    # Evenly spread bytes deviate by 74 from their mean.
    rgb = Image.blend(gradient, static, noise / 74)
    return rgb if mode == "RGB" else rgb.convert("L").convert(mode) if mode == "I;16" else rgb.convert(mode)


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """The picture as a file; `options` are Pillow's."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


@cache
def jpeg(width: int = 320, height: int = 240, mode: str = "RGB", *, seed: int = 1, **options: Any) -> bytes:
    """A JPEG file."""
    return encode(picture(width, height, mode, seed=seed), "JPEG", **options)


@cache
def png(width: int = 320, height: int = 240, mode: str = "RGB", *, seed: int = 1, **options: Any) -> bytes:
    """A PNG file."""
    return encode(picture(width, height, mode, seed=seed), "PNG", **options)


@cache
def photo(kilobytes: int = 100, image_format: str = "JPEG") -> bytes:
    """A noisy picture of about so many kilobytes: the size of file that callers send."""
    pixels = kilobytes * 1000 / (0.41 if image_format == "JPEG" else 2.5)
    height = max(128, int((pixels * 3 / 4) ** 0.5))
    return encode(picture(height * 4 // 3, height, noise=40), image_format)


@cache
def jpeg_with_thumbnail(orientation: int = 6) -> bytes:
    """A camera's JPEG: rotated by EXIF, with a small whole JPEG, end marker included, inside its EXIF segment."""
    thumbnail = jpeg(160, 128, quality=30)
    entries = [(0x0112, 3, 1, struct.pack("<HH", orientation, 0))]
    first = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHI", *e[:3]) + e[3] for e in entries)
    thumbnail_directory = 8 + len(first) + 4
    thumbnail_at = thumbnail_directory + 2 + 12 * 2 + 4
    second = struct.pack("<H", 2)
    second += struct.pack("<HHII", 0x0201, 4, 1, thumbnail_at) + struct.pack("<HHII", 0x0202, 4, 1, len(thumbnail))
    tiff = b"II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", thumbnail_directory) + second + bytes(4)
    return jpeg_with_segments(jpeg(), segment(0xE1, b"Exif\0\0" + tiff + thumbnail))


def segment(marker: int, payload: bytes) -> bytes:
    """One JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_with_segments(content: bytes, *segments: bytes) -> bytes:
    """The JPEG with more bytes right behind its start marker."""
    return content[:2] + b"".join(segments) + content[2:]


def frame(width: int, height: int, *, marker: int = 0xC0, precision: int = 8, components: int = 3) -> bytes:
    """The frame header of a JPEG."""
    payload = struct.pack(">BHHB", precision, height, width, components)
    return segment(marker, payload + b"".join(bytes([i + 1, 0x11, 0]) for i in range(components)))


def assembled_jpeg(*header: bytes) -> bytes:
    """A JPEG of these segments, one scan of little data and an end marker."""
    scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00")
    return b"\xff\xd8" + b"".join(header) + scan + b"\x12\x34\xff\x00\x56\xff\xd9"


def chunk(kind: bytes, payload: bytes = b"") -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def ihdr(
    width: int, height: int, depth: int = 8, colour: int = 2, compression: int = 0, filtering: int = 0, lace: int = 0
) -> bytes:
    """The header chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filtering, lace))


def assembled_png(*chunks: bytes, data: bytes = b"\x78\x9c\x03\x00\x00\x00\x00\x01") -> bytes:
    """A PNG of these chunks, one of image data and the end."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND")


def adam7_png(width: int = 200, height: int = 150) -> bytes:
    """An interlaced grey PNG; Pillow reads such files but does not write them."""
    rows = b""
    for x0, y0, dx, dy in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        rows += (b"\0" + bytes(len(range(x0, width, dx)))) * len(range(y0, height, dy))
    return assembled_png(ihdr(width, height, colour=0, lace=1), data=zlib.compress(rows))
