"""`facegate serve` as a process: it starts, drains, and ends when it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.command import ended, facegate, started

SETTINGS = {
    "FACEGATE_OPS__LISTEN": "127.0.0.1:0",
    "FACEGATE_UPSTREAM": "{base_url: 'http://127.0.0.1:9', credentials: [{name: a, api_id_env: ID, api_secret_env: S}]}",
    "FACEGATE_AUTH__ANONYMOUS_TENANT": "demo",
    "FACEGATE_TENANTS": "[{id: demo, face_sets: {demo: demo}}]",
    "ID": "an-id",
    "S": "hunter2",
}


@asynccontextmanager
async def serving(**settings: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str]]]:
    """A gateway process that takes calls, and where its listeners say that they are."""
    listen = {"FACEGATE_SERVER__LISTEN": "127.0.0.1:0"}
    process = await started("serve", environ={**SETTINGS, **listen, **settings})
    assert process.stdout is not None
    addresses: dict[str, str] = {}
    try:
        async with asyncio.timeout(60):
            while len(addresses) < 2:
                line = await process.stdout.readline()
                if not line:
                    raise AssertionError(f"the gateway did not start: {(await process.communicate())[1].decode()}")
                assert b"hunter2" not in line
                event = json.loads(line)
                if event["event"].endswith(".listening"):
                    addresses[event["event"]] = event["address"]
        yield process, addresses
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_says_where_it_listens() -> None:
    """Port 0 takes a free one, and both listeners answer at the addresses that are logged."""
    async with serving() as (_, addresses):
        assert (await facegate("health", "--target", addresses["server.listening"])).status == 0
        host, _, port = addresses["ops.listening"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains(number: signal.Signals) -> None:
    """The process ends by itself, with status 0."""
    async with serving() as (process, _):
        process.send_signal(number)
        result = await ended(process)
    assert result.status == 0
    (draining,) = [line for line in result.out.splitlines() if "server.draining" in line]
    assert json.loads(draining)["signal"] == number.name
    assert "Traceback" not in result.err
    assert "hunter2" not in result.out + result.err


async def test_the_second_signal_ends_at_once() -> None:
    """However long the drain would take, the second signal ends it, with status 1."""
    async with serving(FACEGATE_SERVER__LAME_DUCK_SECONDS="600") as (process, addresses):
        process.send_signal(signal.SIGTERM)
        while (await facegate("health", "--target", addresses["server.listening"])).status == 0:
            assert process.returncode is None
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        result = await ended(process, within_seconds=20)
    assert result.status == 1


def policies_of(process: int) -> dict[str, int]:
    """The scheduling policy of a process's threads by their names."""
    threads = list(Path(f"/proc/{process}/task").iterdir())
    return {(thread / "comm").read_text().strip(): os.sched_getscheduler(int(thread.name)) for thread in threads}


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="thread policies are Linux's")
async def test_grpcs_threads_do_not_interrupt_the_event_loop() -> None:
    """They have the batch policy; the event loop's thread, the first, keeps its own."""
    async with serving() as (process, _):
        policies = await asyncio.to_thread(policies_of, process.pid)
        assert os.sched_getscheduler(process.pid) == os.SCHED_OTHER
    assert policies["event_engine"] == os.SCHED_BATCH


async def test_the_garbage_collector_leaves_alone_what_the_start_has_made(tmp_path: Path) -> None:
    """Else each of its full runs holds every call up for as long as it takes to look at all modules."""
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, gc, os, pathlib\n"
        "atexit.register(lambda: pathlib.Path(os.environ['FROZEN']).write_text(str(gc.get_freeze_count())))\n"
    )
    frozen = tmp_path / "frozen"
    async with serving(PYTHONPATH=str(tmp_path), FROZEN=str(frozen)) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert (await ended(process, within_seconds=20)).status == 0
    assert int(frozen.read_text()) > 10_000


async def test_variables_that_are_no_settings_are_named_once() -> None:
    """In one line of the log, without their values; the gateway serves."""
    process = await started(
        "serve", environ={**SETTINGS, "FACEGATE_SERVER__LISTEN": "127.0.0.1:0", "FACEGATE_ID": "hunter2"}
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while (event := json.loads(await process.stdout.readline()))["event"] != "config.variables_ignored":
            pass
    process.send_signal(signal.SIGTERM)
    result = await ended(process)
    assert event["variables"] == ["FACEGATE_ID"]
    assert "config.variables_ignored" not in result.out
    assert result.status == 0
    assert "hunter2" not in result.out + result.err


async def test_a_second_gateway_on_the_port_is_refused() -> None:
    """It says so in one line and ends with status 1; the first goes on."""
    async with serving() as (process, addresses):
        address = addresses["server.listening"]
        second = await facegate("serve", environ={**SETTINGS, "FACEGATE_SERVER__LISTEN": address})
        assert second.status == 1
        assert second.err.count("\n") == 1
        assert address in second.err
        assert process.returncode is None
