"""The sending side of HTTP/2's flow control: bodies under way, and how much of them the other side takes now."""

from __future__ import annotations

import struct

from tests.support import frames


class Bodies:
    """What is left of each stream's body, and how far the windows are open."""

    def __init__(self) -> None:
        self.frame_size = 16_384
        self._window = frames.DEFAULT_WINDOW
        self._initial = frames.DEFAULT_WINDOW
        self._windows: dict[int, int] = {}
        # The rest of each body, and whether its end ends the request.
        self._left: dict[int, tuple[memoryview, bool]] = {}

    @property
    def unsent(self) -> int:
        """Bytes that the windows hold back."""
        return sum(len(left) for left, _ in self._left.values())

    def add(self, stream: int, body: bytes, *, end: bool) -> None:
        """A body, or more of one, that is to be sent."""
        self._windows.setdefault(stream, self._initial)
        self._left[stream] = (memoryview(body), end)

    def forget(self, stream: int) -> None:
        """The stream has ended."""
        self._left.pop(stream, None)
        self._windows.pop(stream, None)

    def start_with(self, initial: int) -> None:
        """The other side's setting of a stream's first window, which moves the open ones as well."""
        for stream in self._windows:
            self._windows[stream] += initial - self._initial
        self._initial = initial

    def widen(self, stream: int, more: int) -> list[bytes | memoryview]:
        """A window has opened further, stream 0's is the connection's; what may be sent for that."""
        if stream == 0:
            self._window += more
            return self.all_parts()
        if stream in self._windows:
            self._windows[stream] += more
        return self.parts(stream)

    def all_parts(self) -> list[bytes | memoryview]:
        """The frames that may be sent now, of all streams."""
        parts: list[bytes | memoryview] = []
        for stream in tuple(self._left):
            if self._window <= 0:
                break
            parts += self.parts(stream)
        return parts

    def parts(self, stream: int) -> list[bytes | memoryview]:
        """The frames of one body that both windows let out now."""
        if stream not in self._left:
            return []
        left, ends = self._left[stream]
        room = min(self._window, self._windows[stream], len(left))
        parts: list[bytes | memoryview] = []
        for at in range(0, room, self.frame_size):
            part = left[at : min(at + self.frame_size, room)]
            last = ends and at + len(part) == len(left)
            head = struct.pack(">I", len(part))[1:] + struct.pack(">BBI", frames.DATA, last, stream)
            parts += (head, part)
        if room > 0:
            self._window -= room
            self._windows[stream] -= room
            if room == len(left):
                del self._left[stream]
            else:
                self._left[stream] = (left[room:], ends)
        return parts
