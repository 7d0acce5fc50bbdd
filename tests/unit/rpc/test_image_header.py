"""Reading an image's format and size from its header: what is taken, what is refused, and how fast."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from gateway.model import ImageFormat
from gateway.rpc.image_header import MAX_BYTES, ImageFault, read_image
from tests.support import images


def fault(content: bytes) -> str:
    """The description with which `content` is refused."""
    with pytest.raises(ImageFault) as refused:
        read_image(content)
    return refused.value.description


CORPUS: dict[str, bytes] = {
    **{f"jpeg {mode}": images.jpeg(mode=mode) for mode in images.MODES_OF_JPEG},
    **{f"jpeg {mode} progressive": images.jpeg(mode=mode, progressive=True) for mode in images.MODES_OF_JPEG},
    "jpeg optimised": images.jpeg(optimize=True),
    "jpeg 4:4:4": images.jpeg(subsampling=0),
    "jpeg restart markers": images.jpeg(restart_marker_blocks=1),
    "jpeg rotated by exif, with a thumbnail": images.jpeg_with_thumbnail(),
    "jpeg with an icc profile of 200 kB": images.jpeg(icc_profile=bytes(range(256)) * 800),
    "jpeg with a comment": images.jpeg(comment=b"by hand"),
    "jpeg with an xmp segment": images.jpeg(xmp=b"<x:xmpmeta/>"),
    "jpeg with fill bytes": images.jpeg_with_segments(images.jpeg(), b"\xff" * 300),
    "jpeg with zero bytes behind": images.jpeg() + bytes(511),
    "jpeg of two pictures (mpf)": images.encode(
        images.picture(), "MPO", save_all=True, append_images=[images.picture(seed=2)]
    ),
    **{f"png {mode}": images.png(mode=mode) for mode in images.MODES_OF_PNG},
    "png optimised": images.png(optimize=True),
    "png interlaced": images.adam7_png(),
    "png with an icc profile": images.png(icc_profile=bytes(range(256)) * 100),
    "png animated": images.encode(images.picture(), "PNG", save_all=True, append_images=[images.picture(seed=2)]),
    "png with zero bytes behind": images.png() + bytes(511),
}


@pytest.mark.parametrize("name", CORPUS)
def test_takes_what_pillow_reads_with_the_same_format_and_size(name: str) -> None:
    """Every kind of JPEG and PNG that encoders and cameras write is taken, with the size that a full decoder finds."""
    content = CORPUS[name]
    image = read_image(content)
    with Image.open(io.BytesIO(content)) as decoded:
        decoded.load()
        assert {"MPO": "JPEG"}.get(str(decoded.format), decoded.format) == image.format.name
        assert (image.width, image.height) == decoded.size
    assert image.content is content


@pytest.mark.parametrize("make", [images.jpeg, images.png])
@pytest.mark.parametrize("width", [127, 128, 6000, 6001])
def test_sides_are_128_to_6000_pixels(make: Any, width: int) -> None:
    """128 and 6000 pixels are in, 127 and 6001 are out, whichever side it is."""
    for size in ((width, 128), (128, width)):
        if 128 <= width <= 6000:
            image = read_image(make(*size))
            assert (image.width, image.height) == size
        else:
            assert f"is {size[0]} x {size[1]} pixels" in fault(make(*size))


def test_size_is_at_most_5_242_880_bytes() -> None:
    """A file of exactly the limit is in, one byte more is out, and the description says both numbers."""
    small = images.jpeg()
    room = MAX_BYTES - len(small)
    segments = [images.segment(0xEF, bytes(65533))] * (room // 65537)
    rest = room - len(b"".join(segments)) - 4
    full = images.jpeg_with_segments(small, *segments, images.segment(0xEF, bytes(rest)))
    assert len(full) == MAX_BYTES == 5_242_880
    assert read_image(full).format is ImageFormat.JPEG
    assert "5,242,881" in fault(full + b"\0")


@pytest.mark.parametrize(
    "content", [images.jpeg(), images.jpeg(progressive=True), images.jpeg_with_thumbnail(), images.png()]
)
def test_every_truncation_is_refused(content: bytes) -> None:
    """A file cut anywhere is refused, also behind the end mark of its thumbnail, also if zeros fill the gap."""
    cuts = {*range(0, len(content), max(1, len(content) // 200)), *range(len(content) - 20, len(content))}
    for cut in cuts:
        fault(content[:cut])
        fault(content[:cut] + bytes(64))


@pytest.mark.parametrize("content", [images.jpeg(), images.png()])
@pytest.mark.parametrize("tail", [b"x", b"\0\0x", b"x\0\0", b"\n", bytes(65_537), b"PK\x05\x06" + bytes(18)])
def test_nothing_but_a_little_zero_padding_may_follow_the_image(content: bytes, tail: bytes) -> None:
    """Zero padding is tolerated up to 64 KiB; any other byte behind the end mark is another file in hiding."""
    read_image(content + bytes(65_536))
    fault(content + tail)


def zip_end(comment: bytes) -> bytes:
    """The end-of-central-directory record of an empty ZIP."""
    return b"PK\x05\x06" + bytes(16) + struct.pack("<H", len(comment)) + comment


@pytest.mark.parametrize("filler", [0, 900])
def test_a_zip_that_ends_with_the_image_is_refused(filler: int) -> None:
    """An archive whose comment holds the image's end mark is refused; the same four bytes by chance are not."""
    jpeg, png_end = images.jpeg()[:-2], images.chunk(b"IEND")
    archive = zip_end(bytes(filler) + b"\xff\xd9")
    assert "another kind" in fault(jpeg + archive)
    assert "another kind" in fault(
        images.png()[:-12] + images.chunk(b"teXt", b"")[:-4] + zip_end(bytes(filler) + png_end)
    )
    read_image(jpeg + b"PK\x05\x06" + bytes(18) + b"\xff\xd9")
    read_image(jpeg + b"PK\x05\x06\xff\xd9")


def test_a_pdf_in_the_first_kilobyte_is_refused() -> None:
    """PDF readers look for their mark in the first 1024 bytes, so an image must not have it there."""
    assert "another kind" in fault(images.jpeg(comment=b"%PDF-1.7"))
    assert "another kind" in fault(images.assembled_png(images.ihdr(200, 200), images.chunk(b"tEXt", b"a\0%PDF-1.4")))
    read_image(images.jpeg(icc_profile=bytes(2000), comment=b"%PDF-1.7"))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (images.encode(images.picture(), "GIF"), "GIF"),
        (images.encode(images.picture(), "WEBP"), "WebP"),
        (images.encode(images.picture(), "BMP"), "BMP"),
        (images.encode(images.picture(), "TIFF"), "TIFF"),
        (images.encode(images.picture(), "PDF"), "PDF"),
        (b"\0\0\0\x18ftypheic" + bytes(64), "HEIC"),
        (b"\0\0\0\x18ftypavif" + bytes(64), "AVIF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html></html>", "HTML"),
        (b"PK\x03\x04" + bytes(64), "ZIP"),
        (b"/9j/4AAQSkZJRg==", "base64"),
        (b"data:image/png;base64,iVBORw0KGgo=", "base64"),
        (b"hello", "neither JPEG nor PNG"),
        (b"\xff\xd8", "neither JPEG nor PNG"),
        (b"", "neither JPEG nor PNG"),
    ],
    ids=lambda value: value if isinstance(value, str) else len(value),
)
def test_other_formats_are_named(content: bytes, name: str) -> None:
    """A caller with the wrong format learns which one it sent and what to send instead."""
    assert name in fault(content)


FRAME = images.frame(200, 150)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ([], "broken"),
        ([FRAME, FRAME], "broken"),
        ([images.segment(0xE0, b""), b"\0", FRAME], "broken"),
        ([b"\xff\xd8", FRAME], "broken"),
        ([b"\xff\xd9\x00\x02", FRAME], "broken"),
        ([b"\xff\xe0\x00\x00", FRAME], "broken"),
        ([b"\xff\xe0\x00\x01", FRAME], "broken"),
        ([images.segment(0xC0, FRAME[4:] + b"\0")], "broken"),
        ([b"\xff\xf7\x00\x02", FRAME], "broken"),
        ([b"\xff\xd0\x00\x02", FRAME], "broken"),
        ([images.frame(200, 150, components=2)], "broken"),
        ([images.frame(200, 150)[:3] + b"\x10" + images.frame(200, 150)[4:]], "broken"),
        ([images.frame(200, 150, precision=12)], "12 bits"),
        ([images.frame(200, 0)], "200 x 0"),
        ([b"\xff\xe0\xff\xff", FRAME], "truncated"),
        ([FRAME, b"\xff\xda\x00\x06\x01\x01\x00\x00"], "broken"),
        ([images.segment(0xE0, b"")] * 5000 + [FRAME], "too many"),
        *[
            ([images.frame(200, 150, marker=marker)], "arithmetic")
            for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
        ],
    ],
)
def test_broken_and_rare_jpegs_are_refused(header: list[bytes], why: str) -> None:
    """The header must be what T.81 says, with a frame that common decoders read: 8 bits, Huffman, 1, 3 or 4 channels."""
    read_image(images.assembled_jpeg(FRAME))
    assert why in fault(images.assembled_jpeg(*header))


PALETTE = images.chunk(b"PLTE", bytes(6))
GOOD = images.ihdr(200, 150)


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([], "broken"),
        ([images.chunk(b"tEXt", b"a\0b"), GOOD], "broken"),
        ([GOOD, GOOD], "broken"),
        ([GOOD, images.chunk(b"IEND")], "broken"),
        ([GOOD, images.chunk(b"1234")], "broken"),
        ([images.chunk(b"IHDR", GOOD[8:21] + b"\0")], "broken"),
        ([GOOD[:-1] + bytes([GOOD[-1] ^ 1])], "broken"),
        ([images.ihdr(200, 150, depth=3)], "broken"),
        ([images.ihdr(200, 150, depth=4)], "broken"),
        ([images.ihdr(200, 150, colour=1)], "broken"),
        ([images.ihdr(200, 150, colour=5)], "broken"),
        ([images.ihdr(200, 150, compression=1)], "broken"),
        ([images.ihdr(200, 150, filtering=1)], "broken"),
        ([images.ihdr(200, 150, lace=2)], "broken"),
        ([images.ihdr(200, 150, colour=3)], "broken"),
        ([images.ihdr(0, 150)], "0 x 150"),
        ([images.ihdr(65535, 65535)], "65535 x 65535"),
        ([GOOD, b"\xff\xff\xff\xfftEXt"], "truncated"),
        ([GOOD, b"\x7f\xff\xff\xffIDAT"], "truncated"),
        ([GOOD, *[images.chunk(b"tEXt")] * 5000], "too many"),
    ],
)
def test_broken_pngs_are_refused(chunks: list[bytes], why: str) -> None:
    """IHDR comes first, whole, consistent and with its checksum; a palette image has its palette."""
    read_image(images.assembled_png(GOOD))
    read_image(images.assembled_png(images.ihdr(200, 150, colour=3), PALETTE))
    assert why in fault(images.assembled_png(*chunks))


def test_a_png_without_image_data_is_refused() -> None:
    """A header and an end alone are no picture."""
    fault(b"\x89PNG\r\n\x1a\n" + GOOD + images.chunk(b"IEND"))


SMALL = images.assembled_jpeg(FRAME)
FILL = MAX_BYTES - 500


HOSTILE: dict[str, Callable[[], bytes]] = {
    "a png that claims 65535 squared": lambda: images.assembled_png(images.ihdr(65535, 65535)),
    "all 0xff": lambda: b"\xff\xd8" + b"\xff" * FILL,
    "long runs of fill bytes": lambda: b"\xff\xd8" + (b"\xff" * 65535 + b"\xe0\x00\x02") * (FILL // 65538),
    "empty segments": lambda: images.jpeg_with_segments(SMALL, images.segment(0xE0, b"") * (FILL // 4)),
    "zeros behind": lambda: SMALL + bytes(FILL),
    "0xff behind": lambda: SMALL + b"\xff" * FILL,
    "end marks, then a byte": lambda: SMALL + b"\xff\xd9" * (FILL // 2) + b"x",
    "zip marks": lambda: SMALL[:-2] + b"PK\x05\x06" * (FILL // 4),
    "empty chunks": lambda: images.assembled_png(GOOD, images.chunk(b"tEXt") * (FILL // 12)),
    "png end marks behind": lambda: images.assembled_png(GOOD) + b"IEND" * (FILL // 4),
    "markup": lambda: b"<" * FILL,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_within_5_ms(name: str) -> None:
    """Neither size nor claims nor repetition make a refusal slow: no decode, no unbounded walk, no copy."""
    content = HOSTILE[name]()
    times = []
    for _ in range(5):
        start = time.process_time()
        fault(content)
        times.append(time.process_time() - start)
    assert min(times) < 0.005


def test_descriptions_quote_no_image_bytes() -> None:
    """What is said about a bad image never shows what is in it."""
    for content in (
        b"CANARY" * 20,
        b"GIF8CANARY",
        b"\xff\xd8\xffCANARY",
        b"\x89PNG\r\n\x1a\nCANARY" * 9,
        b"<svg>CANARY",
    ):
        assert "CANARY" not in fault(content)
