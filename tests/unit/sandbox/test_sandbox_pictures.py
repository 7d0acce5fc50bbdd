"""The perceptual hash tells a copy from another photo, and the image spec is the vendor's."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from gateway.sandbox.facesets import Face
from gateway.sandbox.matching import similarity
from gateway.sandbox.pictures import MAX_IMAGE_BYTES, perceptual_hash
from gateway.sandbox.server import DEMO_QUERY, SHIPPED_FACES
from gateway.sandbox.verdicts import Refused, VendorStatus
from tests.support.made_faces import made_face

SHIPPED = sorted(path for path in SHIPPED_FACES.rglob("*") if path.suffix in {".jpg", ".png"})


def encoded(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def altered(path: Path) -> bytes:
    """Half the size, a fifth brighter, JPEG quality 40."""
    photo = Image.open(path).convert("RGB")
    small = photo.resize((photo.width // 2, photo.height // 2))
    return encoded(ImageEnhance.Brightness(small).enhance(1.2), quality=40)


def score(one: bytes, other: bytes) -> float:
    first, second = (Face(1, 1, 0, hashlib.sha256(photo).digest(), perceptual_hash(photo)) for photo in (one, other))
    return similarity(first, second)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_an_altered_copy_is_like_its_photo_and_unlike_every_other(path: Path) -> None:
    """Half size, quality 40 and 20 % brighter score in [0.8, 1) with the original, under 0.5 with all others."""
    copy = altered(path)
    assert 0.8 <= score(copy, path.read_bytes()) < 1
    assert all(score(copy, other.read_bytes()) < 0.5 for other in SHIPPED if other != path)


def test_drawn_people_are_unlike_each_other() -> None:
    """Forty drawn faces, all of the same build: no two score 0.5."""
    photos = [encoded(made_face(number, 128)) for number in range(40)]
    faces = [Face(1, 1, 0, hashlib.sha256(photo).digest(), perceptual_hash(photo)) for photo in photos]
    assert all(similarity(one, other) < 0.5 for index, one in enumerate(faces) for other in faces[:index])


def test_the_shipped_data_is_small_and_complete() -> None:
    """Under 500 KB, with the portrait, its query copy, and a note of where it comes from."""
    data = DEMO_QUERY.parent.parent
    assert sum(path.stat().st_size for path in data.rglob("*") if path.is_file()) < 500_000
    assert score(DEMO_QUERY.read_bytes(), (SHIPPED_FACES / "demo" / "astronaut.jpg").read_bytes()) >= 0.8
    assert "public domain" in (data / "README.md").read_text()


def test_orientation_in_exif_is_followed() -> None:
    """A camera's sideways photo with its rotation noted is the same photo."""
    upright = made_face(5)
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = encoded(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert score(sideways, encoded(upright)) > 0.9


def test_a_photo_of_nothing_has_no_hash() -> None:
    """One colour all over would hash to noise."""
    assert perceptual_hash(encoded(Image.new("RGB", (200, 200), (90, 90, 90)))) is None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "I;16"])
def test_png_of_every_mode_is_read(mode: str) -> None:
    """PNG is PNG, whatever its pixels are."""
    picture = made_face(3, 160)
    converted = (
        Image.frombytes("I;16", (160, 160), picture.convert("L").tobytes() * 2)
        if mode == "I;16"
        else picture.convert(mode)
    )
    perceptual_hash(encoded(converted, "PNG"))


def test_jpeg_kinds_are_read_alike() -> None:
    """Progressive and CMYK JPEG are copies like any other."""
    picture = made_face(3)
    plain = encoded(picture)
    assert score(encoded(picture, progressive=True), plain) > 0.9
    assert score(encoded(picture.convert("CMYK")), plain) > 0.8


@pytest.mark.parametrize("size", [(128, 128), (128, 6000), (6000, 128)])
def test_sides_within_the_spec_are_taken(size: tuple[int, int]) -> None:
    """128 and 6000 pixels are inside."""
    perceptual_hash(encoded(Image.linear_gradient("L").resize(size)))


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


BAD = {
    "127 wide": encoded(Image.linear_gradient("L").resize((127, 128))),
    "127 high": encoded(Image.linear_gradient("L").resize((128, 127)), "PNG"),
    "6001 wide": encoded(Image.linear_gradient("L").resize((6001, 128))),
    "a claim of 65535 x 65535": png_header(65535, 65535) + b"\0" * 100,
    "over 5 MB": b"\xff\xd8\xff" + b"\0" * MAX_IMAGE_BYTES,
    "GIF": encoded(made_face(1, 200), "GIF"),
    "WebP": encoded(made_face(1, 200), "WEBP"),
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg' width='200' height='200'/>",
    "empty": b"",
    "truncated JPEG": encoded(made_face(1, 200))[:3000],
    "truncated PNG": encoded(made_face(1, 200), "PNG")[:3000],
    "only a beginning": b"\x89PNG\r\n\x1a\n",
    "noise behind a beginning": b"\xff\xd8\xff" + bytes(range(256)) * 20,
}


@pytest.mark.parametrize("what", BAD)
def test_an_image_outside_the_spec_is_refused(what: str) -> None:
    """Format, size in pixels and bytes, and decodability are checked for real."""
    with pytest.raises(Refused) as refused:
        perceptual_hash(BAD[what])
    assert refused.value.status is VendorStatus.INVALID_ARGUMENT


def test_without_pillow_the_remedy_is_named() -> None:
    """An install without the extra says what to install, and nothing else."""
    script = "import sys; sys.modules['PIL'] = None\nimport gateway.sandbox.server"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "ImportError: the sandbox needs Pillow: pip install 'facegate[sandbox]'"
