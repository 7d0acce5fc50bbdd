"""One connection to a Valkey server: commands go out together, replies come back in order, each to whoever asked.

Below `lane.py`, which makes connections. Holds what one command may cost: its time, and the bytes of its reply.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import hiredis

from gateway.quota.framing import REPLY_BYTES, MalformedReply, ReplyReader
from gateway.quota.store import OutageCause, StoreUnavailable

LATE_SECONDS = 0.005
"""A timer that fires later than this says that the event loop was late, not the store."""

SECOND_LOOK_SECONDS = 0.002
MOST_LOOKS = 6
_AFTER_LAG_SECONDS = 0.008
_SILENT_SECONDS = 1.0
"""A connection on which commands time out for this long, without a byte of reply, is given up: its queue would only grow."""


class Lost(StoreUnavailable):
    """The connection was given up with the command on it: it may have run, and may be sent again under the same id."""


class Connection(asyncio.Protocol):
    """Frames replies and hands them to whoever waits longest, if they begin with that one's echo.

    A wait that timed out keeps its place in the queue: its reply may still come, and the ones after it are not lost. If
    it never comes, the next reply shows that by its echo.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader()
        self._waiting: deque[tuple[asyncio.Future[Any], bytes | None]] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._limit = REPLY_BYTES
        self._silent_since = 0.0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def send(self, command: bytes, echo: bytes | None = None, limit: int = REPLY_BYTES) -> asyncio.Future[Any]:
        """The reply to come, of at most `limit` bytes; with `echo`, a list that begins with it, or an error."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append((reply, echo))
        self._limit = max(self._limit, limit)
        self._unsent.append(command)
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        return reply

    def _flush(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._silent_since = 0.0
        try:
            replies = self._reader.feed(data, self._limit)
        except MalformedReply:
            self.abort(OutageCause.MALFORMED)
            return
        for reply in replies:
            if self.closed:
                return
            self._hand_over(reply)

    def _hand_over(self, reply: Any) -> None:
        if not self._waiting:
            self.abort(OutageCause.MALFORMED)  # An answer to no command.
            return
        waiting, echo = self._waiting[0]
        if echo is not None and not _answers(reply, echo):
            # Behind a wait that timed out this is the next one's reply; otherwise it is nonsense.
            self.abort(OutageCause.TIMEOUT if waiting.done() else OutageCause.MALFORMED)
            return
        self._waiting.popleft()
        if not self._waiting:
            self._limit = REPLY_BYTES
        if not waiting.done():
            waiting.set_result(reply)

    def timed_out(self) -> None:
        """A command had no reply in time. Gives the connection up if that has been so for long."""
        now = self._loop.time()
        if not self._silent_since:
            self._silent_since = now
        elif now - self._silent_since > _SILENT_SECONDS:
            self.abort(OutageCause.TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.abort()

    def abort(self, cause: OutageCause = OutageCause.CONNECTION) -> None:
        """Gives the connection up, and fails every command on it with `Lost`."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            waiting, _ = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(Lost(cause))
                waiting.exception()  # Seen, even if whoever waited has gone: asyncio would print it otherwise.


def _answers(reply: Any, echo: bytes) -> bool:
    return isinstance(reply, hiredis.ReplyError) or (isinstance(reply, list) and bool(reply) and reply[0] == echo)


def look_again(
    loop: asyncio.AbstractEventLoop, waiting: asyncio.Future[Any], due: float, looks: int = MOST_LOOKS
) -> None:
    """The time is over by the clock; but if the event loop was late, the reply lies unread or the command unsent.

    So a wait ends only when a timer came in time and the socket was read after it: `looks` bounds how often.
    """
    if waiting.done():
        return
    late = loop.time() - due > LATE_SECONDS
    if looks and (late or looks == MOST_LOOKS):
        again = loop.time() + (_AFTER_LAG_SECONDS if late else SECOND_LOOK_SECONDS)
        loop.call_at(again, look_again, loop, waiting, again, looks - 1)
    else:
        waiting.set_exception(StoreUnavailable(OutageCause.TIMEOUT))
