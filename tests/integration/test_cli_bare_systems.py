"""The gateway starts and serves where the system lacks what it only likes to have: musl, gVisor, a strict sandbox."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
from pathlib import Path

import pytest

from gateway.crowding import close_idle
from gateway.listener_bounds import MAX_CONNECTIONS, bounds_of
from gateway.server import _patient_threads
from gateway.telemetry import observed
from tests.integration.test_cli_serve import serving
from tests.support.command import ended, facegate

OPTIONAL = ("sched_getscheduler", "sched_setscheduler", "sched_getparam", "sched_getaffinity", "sched_setaffinity")

# No scheduling calls, no limits, no /proc, no cgroups, no TCP_INFO, no uvloop.
BARE = f"""
import builtins, errno, io, os, pathlib, resource, socket, sys
def missing(*_, **__):
    raise OSError(errno.ENOSYS, "Function not implemented")
for name in {OPTIONAL!r}:
    setattr(os, name, missing)
resource.getrlimit = missing
del socket.TCP_INFO
sys.modules["uvloop"] = None
def without_system_files(function):
    def call(self, *more, **named):
        if str(self).startswith(("/proc", "/sys")):
            missing()
        return function(self, *more, **named)
    return call
for name in ("open", "read_text", "iterdir"):
    setattr(pathlib.Path, name, without_system_files(getattr(pathlib.Path, name)))
"""


async def test_it_serves_without_optional_system_calls(tmp_path: Path) -> None:
    """On musl `os.sched_getscheduler` exists and fails with ENOSYS, which once ended the start."""
    (tmp_path / "sitecustomize.py").write_text(BARE)
    async with serving(PYTHONPATH=str(tmp_path)) as (process, addresses):
        assert (await facegate("health", "--target", addresses["server.listening"])).status == 0
        process.send_signal(signal.SIGTERM)
        result = await ended(process)
    assert result.status == 0
    assert "Traceback" not in result.err
    assert json.loads(result.out.splitlines()[0])["event"] == "server.draining"


def test_threads_need_no_scheduling_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither calls that fail nor calls that do not exist stop the listeners from being made."""

    def missing(*_: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    for name in OPTIONAL[:3]:
        monkeypatch.setattr(os, name, missing)
    with _patient_threads():
        pass
    for name in OPTIONAL[:3]:
        monkeypatch.delattr(os, name)
    with _patient_threads():
        pass


@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, None])
def test_no_limit_of_descriptors_is_no_limit_of_connections(limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system says "no limit" by -1, which once left a single connection."""

    def getrlimit(_: int) -> tuple[int, int]:
        if limit is None:
            raise OSError(errno.ENOSYS, "Function not implemented")
        return limit, limit

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    monkeypatch.setattr("gateway.listener_bounds.container_limit_bytes", lambda: None)
    assert bounds_of(None).connections == MAX_CONNECTIONS


def test_connections_are_left_alone_where_nothing_counts_their_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without TCP_INFO nobody knows which connections are idle."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            monkeypatch.delattr(socket, "TCP_INFO")
            assert close_idle(port, 1) == 0


@pytest.mark.parametrize("content", ["", "1", "not numbers at all"])
def test_memory_that_cannot_be_read_is_zero(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sandboxes have a `/proc` of their own making."""
    statm = tmp_path / "statm"
    statm.write_text(content)
    monkeypatch.setattr(observed, "Path", lambda _: statm)
    assert observed._resident_bytes() == 0
