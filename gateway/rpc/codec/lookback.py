"""How far back the vendor searches: six calendar months, in UTC.

The vendor keeps its own clock and does not say how it counts months, so what is sent to it stays an hour inside.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date
from functools import lru_cache

_MONTHS = 6
_MARGIN_SECONDS = 3600
_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def six_months_before(now: float) -> int:
    """The same day and time six months ago; 31 August is 28 or 29 February. Both in seconds since 1970."""
    day, second = divmod(int(now), _DAY_SECONDS)
    return _midnight_six_months_before(day) + second


def earliest_sent(now: float) -> int:
    """The earliest start time that the vendor is sent: an hour after `six_months_before`."""
    return six_months_before(now) + _MARGIN_SECONDS


# The date changes once a day, and this runs on every search.
@lru_cache(maxsize=4)
def _midnight_six_months_before(day: int) -> int:
    today = date.fromordinal(_EPOCH + day)
    year, month = divmod(today.year * 12 + today.month - 1 - _MONTHS, 12)
    month += 1
    last = monthrange(year, month)[1]
    return (date(year, month, min(today.day, last)).toordinal() - _EPOCH) * _DAY_SECONDS
