"""`facegate demo` and `facegate sandbox` as processes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.command import ended, facegate, started

ANYWHERE = ("--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")


async def test_the_demo_finds_the_portrait() -> None:
    """A real match for the enrolled portrait, none for a stranger, a failure with its reason, and status 0."""
    result = await facegate("demo", "--once")
    assert result.status == 0
    assert re.search(r"^employees +astronaut\.jpg +matched +\d+ +0\.\d+", result.out, re.MULTILINE)
    assert re.search(r"^employees +\S+ +no match", result.out, re.MULTILINE)
    assert "PERMISSION_DENIED FACE_SET_NOT_ALLOWED" in result.out
    assert "Traceback" not in result.err
    # Nothing that is gone when it is read: no address, no file.
    assert "127.0.0.1" not in result.out
    assert "/" not in result.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_the_demo_stays_and_the_line_to_paste_is_right(number: signal.Signals) -> None:
    """The request that it wrote is answered at the address that it printed.

    Ctrl-C or a terminal that closes ends it with status 0, and its files are gone.
    """
    async with _running("demo", *ANYWHERE, until=b"facegate search") as (process, out):
        line = re.search(r"-d @ (\S+) \S+/SearchFace < (\S+)", out)
        assert line is not None
        assert _written(line[2])["face_set"] == "employees"
        own = re.search(r"facegate (search \S+ .*)", out)
        assert own is not None
        assert "  matched  " in (await facegate(*own[1].split())).out
        assert (await facegate("health", "--target", line[1])).status == 0
        process.send_signal(number)
        assert (await ended(process)).status == 0
        assert _written(line[2]) == {}


async def test_a_taken_port_is_said_with_what_to_do() -> None:
    """Another demo, or a gateway, has it: one line, and the options that take free ones."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        result = await facegate("demo", "--listen", taken, "--ops-listen", "127.0.0.1:0")
    assert (result.status, result.out) == (1, "")
    assert result.err.count("\n") == 1
    assert taken in result.err
    assert result.err.endswith("--listen 127.0.0.1:0 --ops-listen 127.0.0.1:0\n")


async def test_a_killed_demos_files_go_at_the_next_start(tmp_path: Path) -> None:
    """Nothing can remove them at once; those of a demo that runs stay."""
    environ = {"TMPDIR": str(tmp_path)}
    async with _running("demo", *ANYWHERE, until=b"facegate search", environ=environ) as (process, _):
        (folder,) = content(tmp_path)
        assert (await facegate("demo", "--once", environ=environ)).status == 0
        assert content(tmp_path) == [folder]
        process.kill()
        await process.wait()
        assert (folder / "search.json").exists()
    assert (await facegate("demo", "--once", environ=environ)).status == 0
    assert content(tmp_path) == []


async def test_the_sandbox_runs_until_it_is_told_to_end() -> None:
    """It says where it listens; a second one on the port is refused in one line."""
    async with _running("sandbox", "--listen", "127.0.0.1:0", until=b"API secret") as (process, out):
        port = out.partition("http://127.0.0.1:")[2].split()[0]
        second = await facegate("sandbox", "--listen", f"127.0.0.1:{port}")
        assert second.status == 1
        assert second.err.count("\n") == 1
        assert f"127.0.0.1:{port}" in second.err
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).status == 0


def content(folder: Path) -> list[Path]:
    """What is in a folder."""
    return list(folder.iterdir())


def _written(file: str) -> dict[str, object]:
    path = Path(file)
    content: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return content


@asynccontextmanager
async def _running(
    *arguments: str, until: bytes, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A command, and what it printed up to and with the line that holds `until`."""
    process = await started(*arguments, environ=environ)
    assert process.stdout is not None
    printed = b""
    try:
        async with asyncio.timeout(60):
            while until not in printed:
                line = await process.stdout.readline()
                assert line, "the command ended too early"
                printed += line
        yield process, printed.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
