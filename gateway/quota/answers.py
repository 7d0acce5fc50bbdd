"""The answers of the scripts, checked before anything is believed. Pure.

A store that lies at will cannot be found out: what it counts is what is counted. Found out is what no working store
answers, be it broken, of another version, or not a store at all: wrong types and lengths, verdicts that do not exist,
limits that the tenant does not have, counts and times out of range. All of that is an outage (`MalformedAnswer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from gateway.model import Window
from gateway.quota.gcra import CALL, CUT_US, Flow
from gateway.quota.store import CONCURRENCY_WAIT_US, Count

_EXACT = 2**53
"""Lua's numbers are exact below this."""

_LARGEST = 2**63
_BIRTH_BYTES = 64


class MalformedAnswer(Exception):
    """The script cannot have given this. The text is constant."""

    def __init__(self) -> None:
        super().__init__("the store's answer is malformed")


class Admission(NamedTuple):
    """Of `admit.lua`: the limit that refused, "" if none did; `level` is that of the rate."""

    refused: str
    born: str
    wait_us: int
    level: int


class Reservation(NamedTuple):
    """Of `reserve.lua`: the window that refused, "" if none did; `counts` in the order of the tenant's windows."""

    refused: str
    born: str
    wait_us: int
    now_us: int
    counts: tuple[Count, ...]


class Look(NamedTuple):
    """Of `look.lua`."""

    born: str
    now_us: int
    level: int
    slots: int
    counts: tuple[Count, ...]


class WindowTerms(NamedTuple):
    """One window of a tenant: its limit, and how far ahead its end may be."""

    window: Window
    name: str
    limit: int
    longest_us: int


class LostState(NamedTuple):
    """The state is not the one that the replica knew: it was lost, and began again as `born`."""

    born: str


def read_admission(flow: Flow | None, concurrency: int | None, reply: list[object]) -> Admission | LostState:
    """The answer of `admit.lua` to a question with these limits."""
    if len(reply) != 5:
        raise MalformedAnswer
    _, verdict, birth, wait, level = reply
    born = _born(birth)
    if type(wait) is not int or type(level) is not int:
        raise MalformedAnswer
    if verdict == b"ok":
        if wait or not 0 <= level <= (flow.capacity if flow is not None else 0):
            raise MalformedAnswer
        return Admission("", born, 0, level)
    if verdict == b"lost":
        return LostState(born)
    if verdict == b"rate" and flow is not None:
        # A full bucket has room for a call after one interval, and at the latest once a lowered limit is in force alone.
        if not 0 < wait <= -(-CALL // flow.drain) + CUT_US or not 0 <= level < _EXACT:
            raise MalformedAnswer
        return Admission("rate", born, wait, level)
    if verdict == b"concurrency" and concurrency is not None:
        if wait != CONCURRENCY_WAIT_US or not 0 <= level < _EXACT:
            raise MalformedAnswer
        return Admission("concurrency", born, wait, level)
    raise MalformedAnswer


def read_reservation(windows: Sequence[WindowTerms], reply: list[object]) -> Reservation | LostState:
    """The answer of `reserve.lua` about these windows."""
    if len(reply) == 5 and reply[1] == b"lost":
        return LostState(_born(reply[2]))
    if len(reply) != 5 + 2 * len(windows):
        raise MalformedAnswer
    _, verdict, birth, wait, now, *numbers = reply
    born = _born(birth)
    if type(wait) is not int or type(now) is not int or not 0 <= now < _EXACT:
        raise MalformedAnswer
    admitted = verdict == b"ok"
    counts = _counts(numbers, windows, now, within_limits=admitted)
    if admitted:
        if wait:
            raise MalformedAnswer
        return Reservation("", born, 0, now, counts)
    for _, name, _, longest in windows:
        if verdict == name.encode():
            if not 0 < wait <= longest:
                raise MalformedAnswer
            return Reservation(name, born, wait, now, counts)
    raise MalformedAnswer


def read_look(windows: Sequence[WindowTerms], reply: list[object]) -> Look:
    """The answer of `look.lua` about these windows."""
    if len(reply) != 5 + 2 * len(windows):
        raise MalformedAnswer
    _, birth, now, level, slots, *numbers = reply
    if not (_is_whole(now, _EXACT) and _is_whole(level, _EXACT) and _is_whole(slots, _EXACT)):
        raise MalformedAnswer
    # A tenant that has used nothing has no state yet.
    return Look(_born(birth) if birth else "", now, level, slots, _counts(numbers, windows, now))


def read_time(reply: list[object]) -> int:
    """The store's time, of `finish.lua` and `charge.lua`."""
    if len(reply) != 2 or not _is_whole(now := reply[1], _EXACT):
        raise MalformedAnswer
    return now


def read_birth(reply: list[object]) -> str:
    """The birth of the state, of `restate.lua`."""
    if len(reply) != 2:
        raise MalformedAnswer
    return _born(reply[1])


def read_nothing(reply: list[object]) -> None:
    """Of `usage_add.lua`: that it ran."""
    if len(reply) != 1:
        raise MalformedAnswer


def read_figures(days: int, width: int, reply: list[object]) -> list[list[int]]:
    """Of `usage_read.lua`: `width` figures a day."""
    if len(reply) != 1 + days:
        raise MalformedAnswer
    found = []
    for one in reply[1:]:
        if not isinstance(one, list) or len(one) != width or not all(_is_whole(figure, _LARGEST) for figure in one):
            raise MalformedAnswer
        found.append(one)
    return found


def _is_whole(value: object, below: int) -> TypeGuard[int]:
    # `type`: True and False are whole numbers for `isinstance`.
    return type(value) is int and 0 <= value < below


def _born(value: object) -> str:
    if type(value) is bytes and 0 < len(value) <= _BIRTH_BYTES and value.isalnum():
        return value.decode()
    raise MalformedAnswer


def _counts(
    numbers: list[object], windows: Sequence[WindowTerms], now_us: int, *, within_limits: bool = False
) -> tuple[Count, ...]:
    found = []
    index = 0
    for _, _, limit, longest in windows:
        used, end = numbers[index], numbers[index + 1]
        index += 2
        if type(used) is not int or type(end) is not int or not 0 < end - now_us <= longest:
            raise MalformedAnswer
        if not 0 <= used < _EXACT or (within_limits and used > limit):
            raise MalformedAnswer
        found.append(Count(used, end))
    return tuple(found)
