"""Cuts a store's bytes into replies, and refuses what no honest store sends before it takes memory or time.

Below `connection.py`. The parser is hiredis, which has no limits of its own: it keeps whatever comes, and makes room for
a list of 100,000,000 elements as soon as it has read that number. So the bytes of one reply are bounded here, and the
lengths of its lists are added up before hiredis sees them.
"""

from __future__ import annotations

import re
from typing import Any

import hiredis

REPLY_BYTES = 16_384
"""Maximum size of a reply, unless a command is known to have larger ones. Those of quotas take 70 to 300 bytes."""

_NOTHING = object()
_ELEMENT_BYTES = 4
"""The shortest element of a list is `:0`, with its line end."""

_LISTS = b"*%~>|"
_FEW_LISTS = 64
_LONG_LIST = re.compile(rb"\*\d{3}")
_LIST = re.compile(rb"\*(\d{1,20})\r\n")
_ANY_LIST = re.compile(
    rb"[*%~>|](\d{1,20})\r\n"
)  # Several times slower, for types that no command here is answered by.
_LONGEST_HEADER = 24


class MalformedReply(Exception):
    """The store sent something that answers no command. The text is constant."""

    def __init__(self) -> None:
        super().__init__("the store's reply is malformed")


class ReplyReader:
    """The replies on one connection, in order. After a `MalformedReply` the connection is of no use any more."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._pending = 0
        self._declared = 0
        self._header = b""

    def feed(self, data: bytes, limit: int) -> list[Any]:
        """The replies that `data` completes. Raises `MalformedReply` for one of more than `limit` bytes."""
        if len(data) > REPLY_BYTES:
            slices = (data[start : start + REPLY_BYTES] for start in range(0, len(data), REPLY_BYTES))
            return [reply for part in slices for reply in self.feed(part, limit)]
        lists = len(data) - len(data.translate(None, _LISTS))
        # Usually one short list, and all of it: then there is nothing to add up.
        if lists != 1 or self._pending or self._header or data[0] != _LISTS[0] or data.find(b"\r", 0, 4) < 0:
            self._add_up(data, limit)
        replies: list[Any] = []
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                replies.append(reply)
        except Exception:  # noqa: BLE001 - hiredis has several kinds; for a map with a list as key it is a TypeError
            raise MalformedReply from None
        if replies:
            self._pending = self._declared = 0  # The beginning of the next one may be here: a slice of it at most.
        else:
            self._pending += len(data)
            if self._pending > limit:
                raise MalformedReply
        return replies

    def _add_up(self, data: bytes, limit: int) -> None:
        """Refuses lists that promise more elements than fit into the bytes of a reply."""
        text = self._header + data
        # A header may be cut in two by the network. What is longer than any header is none.
        line = text[text.rfind(b"\n") + 1 :]
        self._header = line if len(line) <= _LONGEST_HEADER else b""
        lists = len(text) - len(text.translate(None, _LISTS))
        plain = lists == text.count(b"*")
        if not self._pending and plain and lists <= _FEW_LISTS and not _LONG_LIST.search(text):
            return
        self._declared += sum(map(int, (_LIST if plain else _ANY_LIST).findall(text)))
        if self._declared > (limit + len(data)) // _ELEMENT_BYTES:
            raise MalformedReply
