"""Calendar windows in UTC: where a moment's minute, hour, day and month end.

UTC has no daylight saving, so days are 86,400 s; months are counted by the proleptic Gregorian calendar, with the
arithmetic of Howard Hinnant's "chrono-compatible low-level date algorithms", which `windows.lua` repeats. Times are whole
microseconds since 1970. Pure: no clock, no state.
"""

from __future__ import annotations

from gateway.model import Window

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LIMIT_IDS = {window: f"upstream_calls_per_{window.value}" for window in Window}
"""The published id of each window's limit."""

_FIXED = {Window.MINUTE: MINUTE, Window.HOUR: HOUR, Window.DAY: DAY}
_LONGEST = {**_FIXED, Window.MONTH: 31 * DAY}
_STEP_PART = 24


def window_end(window: Window, now_us: int) -> int:
    """When the window that holds `now_us` ends; the end itself belongs to the next window."""
    length = _FIXED.get(window)
    if length is not None:
        return now_us - now_us % length + length
    year, month = _civil_month(now_us // DAY)
    return _first_day(year + month // 12, month % 12 + 1) * DAY


def longest_wait(window: Window) -> int:
    """Microseconds: no window ends later than this after now, as `true_end` has it."""
    return _LONGEST[window] + _LONGEST[window] // _STEP_PART


def longest(window: Window) -> int:
    """Microseconds that a window of this kind may last."""
    return _LONGEST[window]


def true_end(window: Window, end_us: int, now_us: int) -> int:
    """`end_us`, unless that window was opened while the clock was far ahead: then the end of the window of `now_us`.

    A window that has not begun yet is kept, so that none is opened twice, if the clock stepped back by at most a 24th of
    its length. By more it would refuse for up to twice its length.
    """
    if end_us - now_us > _LONGEST[window]:
        step = _LONGEST[window] // _STEP_PART
        if window_end(window, now_us + step) < end_us:
            return window_end(window, now_us)
    return end_us


def window_start(window: Window, end_us: int) -> int:
    """When the window that ends at `end_us` began."""
    length = _FIXED.get(window)
    if length is not None:
        return end_us - length
    year, month = _civil_month(end_us // DAY - 1)
    return _first_day(year, month) * DAY


def _civil_month(day: int) -> tuple[int, int]:
    """Year and month (1 to 12) of a day counted since 1970. Years begin in March here, so that a leap day ends one."""
    shifted = day + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    month = march_month + 3 if march_month < 10 else march_month - 9
    return year_of_era + era * 400 + (1 if month <= 2 else 0), month


def _first_day(year: int, month: int) -> int:
    """The first day of a month, counted since 1970."""
    year -= 1 if month <= 2 else 0
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
