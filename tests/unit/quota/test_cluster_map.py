"""The map of a cluster and the places of redirections, as a node gives them: nothing is believed as it is."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.quota.cluster_map import NotAMap, SlotRange, read_map, read_place

NODE = [b"10.0.0.1", 6379, b"id"]


def test_a_map_is_read() -> None:
    """Replicas and whatever else a version adds are passed over; a node without a name is the one that was asked."""
    reply = [
        [0, 5460, NODE, [b"10.0.0.2", 6379, b"id"]],
        [5461, 5461, [b"", 7000, b"id", [b"hostname", b"x"]]],
        [5462, 9000, [None, 7001]],
        [9001, 9002, [b"?", 7001]],
        [9003, 16383, [b"fd00::1", 6379]],
    ]
    assert read_map(reply, "asked") == [
        SlotRange(0, 5460, ("10.0.0.1", 6379)),
        SlotRange(5461, 5461, ("asked", 7000)),
        SlotRange(5462, 9000, ("asked", 7001)),
        SlotRange(9001, 9002, ("asked", 7001)),
        SlotRange(9003, 16383, ("fd00::1", 6379)),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"OK",
        [],
        [[0, 16384, NODE]],
        [[-1, 5, NODE]],
        [[6, 5, NODE]],
        [[True, 5, NODE]],
        [[b"0", 5, NODE]],
        [[0, 5]],
        [[0, 5, b"10.0.0.1"]],
        [[0, 5, [b"10.0.0.1"]]],
        [[0, 5, [b"10.0.0.1", 0]]],
        [[0, 5, [b"10.0.0.1", 65536]]],
        [[0, 5, [b"10.0.0.1", b"6379"]]],
        [[0, 5, [b"a" * 300, 6379]]],
        [[0, 5, [b"a\x00b", 6379]]],
        [[0, 5, [b"h\xc3\xb6st", 6379]]],
        [[0, 5, [b"two words", 6379]]],
        [[0, 5, [7, 6379]]],
        [[0, 5, NODE]] * 16385,
        [[slot, slot, [b"10.0.%d.%d" % divmod(slot, 250), 6379]] for slot in range(1025)],
    ],
    ids=lambda reply: repr(reply)[:40],
)
def test_what_is_no_map_is_refused(reply: Any) -> None:
    """Ranges, hosts, ports and numbers of nodes that cannot be."""
    with pytest.raises(NotAMap):
        read_map(reply, "asked")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.1:6379", ("10.0.0.1", 6379)),
        ("fd00::1:6379", ("fd00::1", 6379)),
        (":6381", ("asked", 6381)),
        ("?:6381", ("asked", 6381)),
        ("host", None),
        ("host:", None),
        ("host:port", None),
        ("host:0", None),
        ("host:65536", None),
        ("host:-1", None),
        ("host:99999999999", None),
        ("host:\u0661\u0662", None),
        ("", None),
    ],
)
def test_a_place_is_a_host_and_a_port(text: str, place: tuple[str, int] | None) -> None:
    """What is none is not guessed at."""
    assert read_place(text, "asked") == place


@given(st.recursive(st.none() | st.integers() | st.binary(max_size=4), st.lists, max_leaves=20), st.text(max_size=20))
def test_nothing_else_is_raised(reply: Any, text: str) -> None:
    """Whatever comes."""
    with contextlib.suppress(NotAMap):
        read_map(reply, "asked")
    read_place(text, "asked")
