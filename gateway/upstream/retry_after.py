"""The Retry-After header, which is as hostile as the rest of an answer."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_SECONDS = 3600.0

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


def parse_retry_after(raw: bytes | None, now: float) -> float | None:
    """Seconds to wait, from 0 to an hour, by a number or an HTTP date; None if there is none to be read.

    `now` is wall-clock time (seconds since 1970), against which a date is taken.
    """
    if raw is None or len(raw) > 64:
        return None
    value = raw.decode("latin-1").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            return None
        seconds = moment.timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
