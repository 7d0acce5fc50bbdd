"""The photo of a request, in either of its two forms."""

from __future__ import annotations

import binascii

from facegate.search.v1 import face_search_service_pb2 as pb

from gateway import model
from gateway.rpc.codec.violations import Violations
from gateway.rpc.image_header import MAX_BYTES, ImageFault, read_image, too_large

_MISSING = "is required: set `image.content` or `image.base64`"
_NOT_BASE64 = (
    "must be standard base64 (RFC 4648, section 4) with padding, without white space, line breaks or a `data:` prefix;"
    " or send the bytes as `image.content`"
)


def decode_image(request: pb.SearchFaceRequest, violations: Violations) -> model.Image | None:
    """The request's image, or None after adding to `violations`.

    A missing or empty image and text that is not base64 are faults of the request: the caller's program is wrong, any
    photo would fail. Everything else, size included, is a fault of the photo.
    """
    image = request.image
    source = image.WhichOneof("source")
    if source is None:
        violations.add("image", _MISSING)
        return None
    field = f"image.{source}"
    try:
        # Each read of `content` copies it: bound once.
        content = image.content if source == "content" else _from_base64(image.base64)
        if content:
            return read_image(content)
    except ImageFault as fault:
        violations.add_image_fault(field, fault.description)
    except ValueError:
        violations.add(field, _NOT_BASE64)
    else:
        violations.add(field, _MISSING)
    return None


def _from_base64(text: str) -> bytes:
    """The bytes that `text` stands for. Raises `ValueError`, and `ImageFault` before it decodes more than the limit."""
    # `strict_mode` lets padding after a complete group of four pass ("AAAA====").
    if len(text) % 4 or text.endswith("==="):
        raise ValueError
    size = len(text) // 4 * 3 - text.count("=", -2)
    if size > MAX_BYTES:
        raise too_large(size)
    return binascii.a2b_base64(text, strict_mode=True)
