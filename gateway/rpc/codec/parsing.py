"""Bytes of a request to its message.

gRPC hands over bytes untouched, so that a caller is authenticated before its body is parsed, and so that junk gets the
published error instead of the text of a parser's exception.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from gateway.errors import FieldViolation, InvalidRequest

M = TypeVar("M", bound=Message)


def parse(message_class: type[M], raw: bytes) -> M:
    """The message in `raw`. Raises `InvalidRequest`.

    As protobuf has it: unknown fields are ignored, and of several values of one field or `oneof` the last one counts.
    """
    try:
        return message_class.FromString(raw)
    except DecodeError:
        name = message_class.DESCRIPTOR.full_name
        raise InvalidRequest((FieldViolation("", f"the body is not a {name}: encode it as that message"),)) from None
