"""Photos: the vendor's image spec, and a perceptual hash. The one place that needs Pillow.

The hash is the DCT hash ("pHash", Zauner 2010): the photo in grey at 32 x 32 pixels, the 16 x 16 lowest frequencies of
its discrete cosine transform without the mean, and for each whether it is above their median. Resizing, recompression
and brightness hardly move these 255 bits; two unrelated photos share about half of them. It knows light and dark, not
faces: enough to tell enrolled photos apart, and nothing that could recognise a person.
"""

from __future__ import annotations

import io
import math
from operator import mul
from statistics import median

from gateway.sandbox.verdicts import Refused, VendorStatus

try:
    from PIL import Image
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile
except ImportError as error:
    raise ImportError("the sandbox needs Pillow: pip install 'facegate[sandbox]'") from error

MAX_IMAGE_BYTES = 5 * 1024 * 1024
MIN_SIDE_PIXELS = 128
MAX_SIDE_PIXELS = 6000

HASH_BITS = 255
_SIDE = 32
_FREQUENCIES = 16
_COSINES = [[math.cos(math.pi * (2 * x + 1) * u / (2 * _SIDE)) for x in range(_SIDE)] for u in range(_FREQUENCIES)]
_LEAST_CONTRAST = 8
"""Grey levels between the darkest and the lightest spot below which a photo's hash would be noise."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def looks_like_photo(content: bytes) -> bool:
    """Whether `content` begins as a JPEG or PNG file does."""
    return content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))


def perceptual_hash(content: bytes) -> int | None:
    """The photo's hash, `HASH_BITS` wide; None if it shows nothing (one colour all over).

    Takes milliseconds: call it in a thread. Raises `Refused` for an image outside the vendor's spec. Only the header is
    read before the spec is checked, so an image that claims to be huge is never decoded.
    """
    if len(content) > MAX_IMAGE_BYTES:
        raise _invalid("the image is larger than 5 MB")
    if not looks_like_photo(content):
        raise _invalid("the image is neither JPEG nor PNG")
    try:
        # By class rather than Image.open: the format is settled, and no other decoder can be talked into a go.
        photo = (JpegImageFile if content.startswith(b"\xff\xd8") else PngImageFile)(io.BytesIO(content))
        if not all(MIN_SIDE_PIXELS <= side <= MAX_SIDE_PIXELS for side in photo.size):
            raise _invalid(f"each side of the image must be from {MIN_SIDE_PIXELS} to {MAX_SIDE_PIXELS} pixels")
        pixels = _thumbnail(photo)
    except Refused:
        raise
    except Exception as error:  # hostile bytes: Pillow's decoders raise a dozen classes, from OSError to struct.error
        raise _invalid("the image cannot be decoded") from error
    if max(pixels) - min(pixels) < _LEAST_CONTRAST:
        return None
    return _dct_hash(pixels)


def _invalid(reason: str) -> Refused:
    return Refused(VendorStatus.INVALID_ARGUMENT, reason)


def _thumbnail(photo: Image.Image) -> bytes:
    orientation = photo.getexif().get(_ORIENTATION, 1)
    # A large JPEG is decoded at a part of its size: less memory, and most of the time saved. Not below four times the
    # thumbnail, where the decoder's own shrinking would show in the hash.
    photo.draft("L", (4 * _SIDE, 4 * _SIDE))
    small = photo.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    turn = _UPRIGHT.get(orientation)
    return (small.transpose(turn) if turn is not None else small).tobytes()


def _dct_hash(pixels: bytes) -> int:
    lines = [pixels[start : start + _SIDE] for start in range(0, len(pixels), _SIDE)]
    across = [[sum(map(mul, line, cosine)) for line in lines] for cosine in _COSINES]
    terms = [sum(map(mul, column, cosine)) for cosine in _COSINES for column in across][1:]
    middle = median(terms)
    return sum(1 << bit for bit, term in enumerate(terms) if term > middle)
