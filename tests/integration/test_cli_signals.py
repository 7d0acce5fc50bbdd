"""What signals do to `facegate serve`, at whatever moment they come."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.signals import HANDLED, LEAVE, RELOAD
from tests.support.command import ended, started
from tests.support.connections import Connections

# Runs before the gateway's own code, and sends signals at the first event of Python's that fits.
AT_A_MOMENT = """
import os, sys

event, wanted = os.environ["MOMENT"].split(" ")
numbers = [int(number) for number in os.environ["SIGNALS"].split(" ")]

def look(name, values):
    if name == event and numbers and wanted in str(values[0]):
        while numbers:
            os.kill(os.getpid(), numbers.pop(0))

sys.addaudithook(look)
"""
# From the first line of ours to the last before calls are taken.
MOMENTS = [
    "import gateway.cli.main",
    "open facegate.yaml",
    "import grpc._cython",
    "import gateway.app",
    "open api-secret",
]


def settings(folder: Path, **further: str) -> dict[str, str]:
    """A gateway that reads files while it starts."""
    (folder / "api-secret").write_text("hunter2")
    (folder / "facegate.yaml").write_text("tenants: [{id: demo, face_sets: {demo: demo}}]")
    (folder / "sitecustomize.py").write_text(AT_A_MOMENT)
    credential = f"{{name: a, api_id_env: ID, api_secret_file: {folder}/api-secret}}"
    return {
        "FACEGATE_CONFIG": str(folder / "facegate.yaml"),
        "FACEGATE_SERVER__LISTEN": "127.0.0.1:0",
        "FACEGATE_OPS__LISTEN": "127.0.0.1:0",
        "FACEGATE_UPSTREAM": f"{{base_url: 'http://127.0.0.1:9', credentials: [{credential}]}}",
        "FACEGATE_AUTH__ANONYMOUS_TENANT": "demo",
        "ID": "an-id",
        **further,
    }


def at(folder: Path, moment: str, *numbers: int) -> dict[str, str]:
    """What makes the process send itself these signals at `moment`."""
    return {"PYTHONPATH": str(folder), "MOMENT": moment, "SIGNALS": " ".join(str(int(number)) for number in numbers)}


Serve = Callable[[dict[str, str]], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts gateways; none outlives the test."""
    processes = []

    async def serve(environ: dict[str, str]) -> asyncio.subprocess.Process:
        processes.append(await started("serve", environ=environ))
        return processes[-1]

    yield serve
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def events_until(process: asyncio.subprocess.Process, *names: str) -> list[dict[str, Any]]:
    """What the process logs, up to the last of the events `names`."""
    assert process.stdout is not None
    wanted, found = set(names), []
    async with asyncio.timeout(60):
        while wanted:
            line = await process.stdout.readline()
            assert line, f"it ended before {wanted}"
            found.append(json.loads(line))
            wanted.discard(found[-1]["event"])
    return found


@pytest.mark.parametrize("moment", MOMENTS)
async def test_sigterm_counts_at_every_moment_of_the_start(moment: str, tmp_path: Path, serve: Serve) -> None:
    """A clean end with status 0, although the gateway did not serve yet."""
    process = await serve(settings(tmp_path, **at(tmp_path, moment, signal.SIGTERM)))
    result = await ended(process)
    assert (result.status, result.err) == (0, "")
    assert "server.listening" not in result.out


async def test_sigterm_counts_from_the_very_first_moment_if_it_is_blocked(tmp_path: Path) -> None:
    """Whoever starts the gateway can close the milliseconds before its first line runs: a blocked signal is kept."""
    blocked = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM});"
        "os.kill(os.getpid(), signal.SIGTERM); os.execv(sys.executable, [sys.executable, '-m', 'gateway', 'serve'])"
    )
    environ = {"PATH": os.environ["PATH"], **settings(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", blocked),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    result = await ended(process)
    assert (result.status, result.err) == (0, "")


async def test_sigterm_counts_while_a_store_is_being_opened(tmp_path: Path, serve: Serve) -> None:
    """The store took the connection and says nothing; the start is given up, not waited for."""
    met = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        met.set()
        while await reader.read(65_536):
            pass

    connections = Connections(say_nothing)
    store = await asyncio.start_server(connections.accept, "127.0.0.1", 0)
    url = f"valkey://127.0.0.1:{store.sockets[0].getsockname()[1]}/0"
    process = await serve(settings(tmp_path, FACEGATE_STORES__QUOTA=url))
    try:
        await asyncio.wait_for(met.wait(), 60)
        process.send_signal(signal.SIGTERM)
        result = await ended(process, within_seconds=20)
    finally:
        await connections.end(store)
    assert (result.status, result.err) == (0, "")
    assert "server.listening" not in result.out


async def test_a_second_signal_ends_the_start_at_once(tmp_path: Path, serve: Serve) -> None:
    """As it does later, with status 1."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    process = await serve(settings(tmp_path, **at(tmp_path, "import grpc._cython", *numbers)))
    assert (await ended(process)).status == 1


async def test_sighup_during_the_start_reloads_after_it(tmp_path: Path, serve: Serve) -> None:
    """It neither ends the process nor is lost."""
    process = await serve(settings(tmp_path, **at(tmp_path, "import grpc._cython", signal.SIGHUP)))
    await events_until(process, "server.listening", "server.reloaded")
    process.send_signal(signal.SIGTERM)
    assert (await ended(process)).status == 0


async def test_sighup_reloads(tmp_path: Path, serve: Serve) -> None:
    """One line says what came of it, and the process goes on."""
    process = await serve(settings(tmp_path))
    await events_until(process, "server.listening")
    (tmp_path / "facegate.yaml").write_text("tenants: [{id: demo, nonsense: 1}]")
    process.send_signal(signal.SIGHUP)
    reloaded = (await events_until(process, "server.reloaded"))[-1]
    assert (reloaded["level"], reloaded["files"]) == ("warning", [])
    assert str(tmp_path / "facegate.yaml") in reloaded["problem"][0]
    (tmp_path / "facegate.yaml").write_text("tenants: [{id: demo, face_sets: {other: demo}}]")
    process.send_signal(signal.SIGHUP)
    events = await events_until(process, "server.reloaded")
    assert events[-1]["level"] == "info"
    assert "config.tenants_replaced" in {event["event"] for event in events}
    process.send_signal(signal.SIGTERM)
    assert (await ended(process)).status == 0


async def test_no_signal_ends_it_in_silence(tmp_path: Path, serve: Serve) -> None:
    """Each is reported, and it goes on; SIGQUIT drains as SIGTERM does."""
    process = await serve(settings(tmp_path))
    await events_until(process, "server.listening")
    others = sorted(HANDLED - LEAVE - {RELOAD})
    assert {signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMAX} <= set(others)
    process.send_signal(signal.SIGPIPE)
    ignored = []
    for number in others:
        process.send_signal(number)
        ignored.append((await events_until(process, "server.signal_ignored"))[-1]["signal"])
    assert len(set(ignored)) == len(others)
    assert "SIGUSR1" in ignored
    process.send_signal(signal.SIGQUIT)
    result = await ended(process)
    assert (result.status, result.err) == (0, "")
    assert '"signal": "SIGQUIT"' in result.out.replace('":"', '": "')


async def test_a_signal_in_the_last_moment_does_not_change_the_status(tmp_path: Path, serve: Serve) -> None:
    """The event loop is gone by then; the handlers are not."""
    folder = tmp_path / "last"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import atexit, os, signal\natexit.register(lambda: os.kill(os.getpid(), signal.SIGHUP))\n"
    )
    process = await serve(settings(tmp_path, PYTHONPATH=str(folder)))
    await events_until(process, "server.listening")
    process.send_signal(signal.SIGTERM)
    result = await ended(process)
    assert (result.status, result.err) == (0, "")
