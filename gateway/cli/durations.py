"""Durations as people say them."""

from __future__ import annotations

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def spoken(seconds: float) -> str:
    """`seconds` in its two largest units: `0.25 s`, `42 s`, `5 h 24 min`. A minute or more is rounded up to seconds."""
    if seconds < 60:
        # A wait of 59.9991 s is not a minute, and 0.0004 s is not nothing.
        return f"{seconds:.3g} s"
    rest = int(seconds) + (seconds > int(seconds))
    parts: list[str] = []
    for size, name in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {name}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 "))
