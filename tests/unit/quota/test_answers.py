"""What is believed of a store's answers: one that a script cannot have given is malformed, whatever is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Limits, RateLimit, Window
from gateway.quota import answers
from gateway.quota.answers import MalformedAnswer
from gateway.quota.gcra import CALL, flow_of
from gateway.quota.terms import Terms
from gateway.quota.windows import DAY, HOUR, MINUTE

NOW = 1_763_800_000_000_000
FLOW = flow_of(RateLimit(2, 10))
WINDOWS = Terms(Limits(upstream_calls={Window.MINUTE: 5, Window.DAY: 9})).windows
ENDS = (NOW - NOW % MINUTE + MINUTE, NOW - NOW % DAY + DAY)
COUNTS = [1, ENDS[0], 4, ENDS[1]]

admission = partial(answers.read_admission, FLOW, 3)
unlimited = partial(answers.read_admission, None, None)
reservation = partial(answers.read_reservation, WINDOWS)
look = partial(answers.read_look, WINDOWS)
figures = partial(answers.read_figures, 2, 3)
READERS: list[Callable[[list[Any]], object]] = [
    admission,
    unlimited,
    reservation,
    look,
    figures,
    answers.read_time,
    answers.read_birth,
    answers.read_nothing,
]

HONEST: list[tuple[Callable[[list[Any]], object], list[Any]]] = [
    (admission, [b"e", b"ok", b"b1", 0, CALL]),
    (admission, [b"e", b"rate", b"b1", 500_000, 10 * CALL]),
    (admission, [b"e", b"concurrency", b"b1", 100_000, CALL]),
    (admission, [b"e", b"lost", b"b1", 0, 0]),
    (unlimited, [b"e", b"ok", b"b1", 0, 0]),
    (reservation, [b"e", b"ok", b"b1", 0, NOW, *COUNTS]),
    (reservation, [b"e", b"day", b"b1", HOUR, NOW, *COUNTS]),
    (reservation, [b"e", b"lost", b"b1", 0, 0]),
    (look, [b"e", b"b1", NOW, 3, 2, *COUNTS]),
    (look, [b"e", b"", NOW, 0, 0, *COUNTS]),
    (figures, [b"e", [1, 2, 3], [0, 0, 2**62]]),
    (answers.read_time, [b"e", NOW]),
    (answers.read_birth, [b"e", b"b1"]),
    (answers.read_nothing, [b"e"]),
]


@pytest.mark.parametrize(("read", "reply"), HONEST)
def test_what_a_script_gives_is_read(read: Callable[[list[Any]], object], reply: list[Any]) -> None:
    """Every form of every answer."""
    read(reply)


LIES: list[tuple[str, Callable[[list[Any]], object], list[Any]]] = [
    ("a verdict that there is not", admission, [b"e", b"yes", b"b1", 0, CALL]),
    ("a verdict in another type", admission, [b"e", "ok", b"b1", 0, CALL]),
    ("a rate that the tenant has not", unlimited, [b"e", b"rate", b"b1", 5, 0]),
    ("slots that the tenant has not", unlimited, [b"e", b"concurrency", b"b1", 100_000, 0]),
    ("more than a full bucket", admission, [b"e", b"ok", b"b1", 0, 11 * CALL]),
    ("less than an empty one", admission, [b"e", b"ok", b"b1", 0, -1]),
    ("admitted, but to wait", admission, [b"e", b"ok", b"b1", 1, CALL]),
    ("refused, without a wait", admission, [b"e", b"rate", b"b1", 0, 10 * CALL]),
    ("a wait of an hour for half a second", admission, [b"e", b"rate", b"b1", HOUR, 10 * CALL]),
    ("a negative wait", admission, [b"e", b"rate", b"b1", -1, 10 * CALL]),
    ("another wait for a slot", admission, [b"e", b"concurrency", b"b1", HOUR, CALL]),
    ("true for a number", admission, [b"e", b"ok", b"b1", 0, True]),
    ("a float for a number", admission, [b"e", b"ok", b"b1", 0, 1.0]),
    ("a birth that is no name", admission, [b"e", b"ok", b"b 1", 0, CALL]),
    ("an endless birth", admission, [b"e", b"ok", b"b" * 65, 0, CALL]),
    ("no birth", admission, [b"e", b"ok", None, 0, CALL]),
    ("too short", admission, [b"e", b"ok", b"b1", 0]),
    ("too long", admission, [b"e", b"ok", b"b1", 0, CALL, 0]),
    ("another window", reservation, [b"e", b"month", b"b1", HOUR, NOW, *COUNTS]),
    ("too few counts", reservation, [b"e", b"ok", b"b1", 0, NOW, *COUNTS[:2]]),
    ("a negative count", reservation, [b"e", b"ok", b"b1", 0, NOW, -1, *COUNTS[1:]]),
    ("admitted beyond the limit", reservation, [b"e", b"ok", b"b1", 0, NOW, 6, *COUNTS[1:]]),
    ("a window that is over", reservation, [b"e", b"ok", b"b1", 0, NOW, 1, NOW, *COUNTS[2:]]),
    ("a minute that ends in an hour", reservation, [b"e", b"ok", b"b1", 0, NOW, 1, NOW + HOUR, *COUNTS[2:]]),
    ("a wait beyond its window", reservation, [b"e", b"minute", b"b1", HOUR, NOW, *COUNTS]),
    ("a time before 1970", reservation, [b"e", b"ok", b"b1", 0, -5, *COUNTS]),
    ("an error inside", reservation, [b"e", b"ok", b"b1", hiredis.ReplyError("no"), NOW, *COUNTS]),
    ("slots in the red", look, [b"e", b"b1", NOW, 3, -2, *COUNTS]),
    ("figures in the red", figures, [b"e", [1, 2, -3], [0, 0, 0]]),
    ("a day too few", figures, [b"e", [1, 2, 3]]),
    ("a figure too few", figures, [b"e", [1, 2, 3], [1, 2]]),
    ("a day that is none", figures, [b"e", [1, 2, 3], b"abc"]),
]


@pytest.mark.parametrize(("read", "reply"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_what_no_script_gives_is_malformed(read: Callable[[list[Any]], object], reply: list[Any]) -> None:
    """Types, lengths, verdicts, counts and times."""
    with pytest.raises(MalformedAnswer):
        read(reply)


THINGS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.binary(max_size=5)
    | st.sampled_from([b"ok", b"rate", b"lost", b"day", b"b1", NOW, *COUNTS])
    | st.builds(hiredis.ReplyError, st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.integers(), inner, max_size=2),
    max_leaves=12,
)


@given(st.lists(THINGS, max_size=10))
def test_nothing_but_malformed_is_raised(reply: list[Any]) -> None:
    """Whatever is in the list."""
    for read in READERS:
        with contextlib.suppress(MalformedAnswer):
            read([b"e", *reply])
