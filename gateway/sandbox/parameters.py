"""A call's parameters with the defaults and ranges of the vendor's page. Knows no HTTP and no photos."""

from __future__ import annotations

import binascii
import re
from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gateway.sandbox.form import Form
from gateway.sandbox.verdicts import Refused, VendorStatus

DEFAULT_THRESHOLD = 0.8
DEFAULT_TOP_N = 1
MAX_TOP_N = 10
SEARCHABLE_MONTHS = 6
CLOCK_SKEW_SECONDS = 60
_MAX_NAME_BYTES = 256

_FLOAT = re.compile(r"[+-]?(\d{1,20}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for; `start_time` in seconds since 1970."""

    name: str
    image: bytes = field(repr=False)
    threshold: float
    start_time: int
    top_n: int


def months_before(now: float, months: int) -> int:
    """The same day and time `months` earlier in UTC, or that month's last day if it is shorter."""
    moment = datetime.fromtimestamp(now, UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def read(form: Form, now: float) -> Asked:
    """The call's parameters. Raises `Refused` with INVALID_ARGUMENT, naming the first one that is out of range."""
    oldest = months_before(now, SEARCHABLE_MONTHS)
    name = _text(form, "name")
    if not name or len(name) > _MAX_NAME_BYTES:
        raise _invalid(f"name is required, 1 to {_MAX_NAME_BYTES} characters")
    threshold = float(_number(form, "threshold", _FLOAT) or DEFAULT_THRESHOLD)
    if not 0 <= threshold <= 1:
        raise _invalid("threshold must be from 0 to 1")
    top_n = int(_number(form, "topN", _INTEGER) or DEFAULT_TOP_N)
    if not 1 <= top_n <= MAX_TOP_N:
        raise _invalid(f"topN must be from 1 to {MAX_TOP_N}")
    start_time = int(_number(form, "start_time", _INTEGER) or oldest)
    if not oldest <= start_time <= now + CLOCK_SKEW_SECONDS:
        raise _invalid(f"start_time must be within the last {SEARCHABLE_MONTHS} months")
    return Asked(name, _image(form), threshold, start_time, top_n)


def _invalid(reason: str) -> Refused:
    return Refused(VendorStatus.INVALID_ARGUMENT, reason)


def _text(form: Form, key: str) -> str:
    try:
        return form.get(key, b"").decode()
    except UnicodeDecodeError as error:
        raise _invalid(f"{key} is not UTF-8") from error


def _number(form: Form, key: str, pattern: re.Pattern[str]) -> str | None:
    if key not in form:
        return None
    text = _text(form, key)
    if not pattern.fullmatch(text):
        raise _invalid(f"{key} is not a number of its type")
    return text


def _image(form: Form) -> bytes:
    if ("file" in form) == ("image_base64" in form):
        raise _invalid("exactly one of file and image_base64 must be given")
    if "file" in form:
        return form["file"]
    encoded = form["image_base64"].replace(b"\r", b"").replace(b"\n", b"")
    try:
        return binascii.a2b_base64(encoded, strict_mode=True)
    except binascii.Error as error:
        raise _invalid("image_base64 is not base64") from error
