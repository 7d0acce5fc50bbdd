"""A request's body as form fields: `multipart/form-data` or urlencoded.

aiohttp's own reader goes through a multipart body line by line, which for a photo of 100 KB costs several times what
the rest of a call does; here the whole body is in memory (its size is capped before) and is cut at its boundaries.
"""

from __future__ import annotations

import re
from email.message import Message
from urllib.parse import parse_qsl

from gateway.sandbox.verdicts import Refused, VendorStatus

MAX_FIELDS = 32
_MAX_PART_HEADER_BYTES = 4096
_NAME = re.compile(
    rb'^content-disposition:[ \t]*form-data\b[^\r\n]*?;[ \t]*name=(?:"([^"\r\n]*)"|([^\s;"]+))',
    re.IGNORECASE | re.MULTILINE,
)

Form = dict[str, bytes]


def parse(content_type: str, body: bytes) -> Form:
    """The body's fields by name. Raises `Refused` if it cannot be read or names a field twice."""
    kind, _, parameters = content_type.partition(";")
    match kind.strip().lower():
        case "multipart/form-data":
            pairs = _multipart(_boundary(parameters), body)
        case "application/x-www-form-urlencoded":
            pairs = _urlencoded(body)
        case _:
            raise _invalid("the body must be multipart/form-data or application/x-www-form-urlencoded")
    fields: Form = {}
    for name, value in pairs:
        if name in fields:
            raise _invalid("a field is given twice")
        fields[name] = value
    return fields


def _invalid(reason: str) -> Refused:
    return Refused(VendorStatus.INVALID_ARGUMENT, reason)


def _boundary(parameters: str) -> bytes:
    header = Message()
    header["content-type"] = "multipart/form-data;" + parameters
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise _invalid("multipart/form-data without a usable boundary")
    return boundary.encode()


def _multipart(boundary: bytes, body: bytes) -> list[tuple[str, bytes]]:
    """Parts by RFC 7578; a boundary counts only at the beginning of a line."""
    opening, delimiter = b"--" + boundary, b"\r\n--" + boundary
    start = 0 if body.startswith(opening) else body.find(delimiter) + 2
    if start == 1:
        raise _invalid("the multipart body has no part")
    position = start + len(opening)
    pairs: list[tuple[str, bytes]] = []
    while not body.startswith(b"--", position):
        if len(pairs) == MAX_FIELDS:
            raise _invalid(f"more than {MAX_FIELDS} fields")
        # A part without headers has its empty line at once, so the search begins on the delimiter's own line end.
        content = body.find(b"\r\n\r\n", position, position + _MAX_PART_HEADER_BYTES)
        end = body.find(delimiter, content + 2)
        if content < 0 or end < 0:
            raise _invalid("the multipart body is cut short")
        name = _NAME.search(body[position:content])
        if name is None:
            raise _invalid("a part of the multipart body has no name")
        pairs.append((_text(name[1] if name[1] is not None else name[2]), body[content + 4 : end]))
        position = end + len(delimiter)
    return pairs


def _urlencoded(body: bytes) -> list[tuple[str, bytes]]:
    try:
        # As latin-1 every byte is a character, so that values come back as the bytes that were sent.
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, encoding="latin-1", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise _invalid("the urlencoded body cannot be read") from error
    return [(_text(name.encode("latin-1")), value.encode("latin-1")) for name, value in pairs]


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise _invalid("a field's name is not UTF-8") from error
