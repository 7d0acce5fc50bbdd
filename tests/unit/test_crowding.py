"""When connections get scarce, the idle ones of the address that has most give way, and nobody else's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway import crowding
from gateway.crowding import close_idle

CROWD, CALLER = "127.0.0.66", "127.0.0.1"


class Listener:
    """A listening socket, with both ends of its connections in this process."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._socket = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = self._socket.getsockname()[1]

    def connected(self, source: str) -> socket.socket:
        """The caller's end of a new connection that has sent something."""
        caller = self._stack.enter_context(
            socket.create_connection(self._socket.getsockname(), source_address=(source, 0))
        )
        served, _ = self._socket.accept()
        self._stack.enter_context(served)
        caller.sendall(b"x")
        assert served.recv(1) == b"x"
        caller.setblocking(False)
        return caller


def closed(caller: socket.socket) -> bool:
    try:
        return caller.recv(1) == b""
    except BlockingIOError:
        return False


@pytest.fixture
def listener() -> Iterator[Listener]:
    with ExitStack() as stack:
        yield Listener(stack)


@pytest.fixture
def all_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowding, "IDLE_SECONDS", 0.0)


@pytest.mark.usefixtures("all_idle")
def test_the_crowd_gives_way(listener: Listener) -> None:
    crowd = [listener.connected(CROWD) for _ in range(10)]
    caller = listener.connected(CALLER)
    assert close_idle(listener.port, 12) == 2
    assert sum(map(closed, crowd)) == 2
    assert not closed(caller)


@pytest.mark.usefixtures("all_idle")
def test_nothing_is_closed_while_there_is_room(listener: Listener) -> None:
    crowd = [listener.connected(CROWD) for _ in range(10)]
    assert close_idle(listener.port, 20) == 0
    assert not any(map(closed, crowd))


def test_connections_that_were_used_a_moment_ago_stay(listener: Listener) -> None:
    crowd = [listener.connected(CROWD) for _ in range(10)]
    assert close_idle(listener.port, 10) == 0
    assert not any(map(closed, crowd))


@pytest.mark.usefixtures("all_idle")
def test_connections_of_other_ports_stay(listener: Listener) -> None:
    with ExitStack() as stack:
        other = Listener(stack)
        others = [other.connected(CROWD) for _ in range(10)]
        for _ in range(10):
            listener.connected(CROWD)
        close_idle(listener.port, 10)
        assert not any(map(closed, others))


@pytest.mark.usefixtures("all_idle")
def test_looking_leaves_no_descriptor_open(listener: Listener) -> None:
    """Also not of what is no socket."""
    for _ in range(10):
        listener.connected(CROWD)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number
    close_idle(listener.port, 100)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - as above
