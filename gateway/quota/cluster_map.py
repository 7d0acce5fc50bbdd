"""The map of a cluster, as CLUSTER SLOTS gives it, and places as redirections name them. Pure; trusts nothing."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

SLOTS = 16384
MAP_BYTES = 1_048_576
"""Maximum size of the reply: some 4,000 ranges with three nodes each."""

_MOST_PLACES = 1024
"""A cluster has at most about 1,000 nodes."""

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}(?:%[A-Za-z0-9._-]{1,32})?")
"""A host name, or an address of either kind. A name with another character is none."""

_PORT = re.compile(r"[0-9]{1,5}")

Place = tuple[str, int]
"""Host and port."""


class SlotRange(NamedTuple):
    """Slots from `first` to `last`, and where their master is."""

    first: int
    last: int
    place: Place


class NotAMap(Exception):
    """The reply is no map of a cluster, or names places that cannot be. The text is constant."""

    def __init__(self) -> None:
        super().__init__("not the map of a cluster")


def read_map(reply: Any, host: str) -> list[SlotRange]:
    """The ranges of a reply of the node at `host`. Raises `NotAMap`."""
    if not isinstance(reply, list) or not 0 < len(reply) <= SLOTS:
        raise NotAMap
    ranges = [_range(one, host) for one in reply]
    if len({one.place for one in ranges}) > _MOST_PLACES:
        raise NotAMap
    return ranges


def _range(one: Any, host: str) -> SlotRange:
    if not isinstance(one, list) or len(one) < 3 or not isinstance(one[2], list) or len(one[2]) < 2:
        raise NotAMap
    first, last, (node, port) = one[0], one[1], one[2][:2]
    if type(first) is not int or type(last) is not int or not 0 <= first <= last < SLOTS:
        raise NotAMap
    # Without a name, or with `?`, it is the node that was asked.
    if node is None or node in (b"", b"?"):
        name = host
    elif isinstance(node, bytes):
        name = node.decode("ascii", "replace")
    else:
        raise NotAMap
    if type(port) is not int or not 0 < port < 65536 or not _HOST.fullmatch(name):
        raise NotAMap
    return SlotRange(first, last, (name, port))


def read_place(text: str, host: str) -> Place | None:
    """The place `host:port` of a redirection by the node at `host`, which is meant where no host is given."""
    name, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        return None
    return (host if name in ("", "?") else name), int(port)
