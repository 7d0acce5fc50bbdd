"""The README's commands, taken from it and run as they are written, but for the demo's port."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator

import pytest_asyncio

from gateway.cli.address import DEFAULT_TARGET
from tests.support.command import started
from tests.support.pages import blocks, section
from tests.support.tools import LOCAL_BIN, ROOT, require_tool

README = section((ROOT / "README.md").read_text("utf-8"), "Call it")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo() -> AsyncIterator[str]:
    """The address of a demo that runs, on a port of its own: tests run at the same time."""
    process = await started("demo", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
    assert process.stdout is not None
    printed = b""
    try:
        async with asyncio.timeout(60):
            while b"facegate search" not in printed:
                line = await process.stdout.readline()
                assert line, "the demo ended too early"
                printed += line
        found = re.search(rb"^gateway +(\S+)$", printed, re.MULTILINE)
        assert found is not None
        yield found[1].decode()
    finally:
        process.terminate()
        await process.wait()


async def pasted(program: list[str], address: str) -> str:
    """What the program prints in the project's folder, as in a terminal after `. .venv/bin/activate`."""
    path = os.pathsep.join([os.path.dirname(sys.executable), str(LOCAL_BIN), os.environ.get("PATH", "")])  # noqa: PTH120
    process = await asyncio.create_subprocess_exec(
        *program,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "FACEGATE_TARGET": address},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    return out.decode()


def at(address: str, text: str) -> str:
    """The text with the usual address, which must be in it, replaced by the demo's."""
    assert DEFAULT_TARGET in text
    return text.replace(DEFAULT_TARGET, address)


async def test_the_command_line_finds_the_portrait(demo: str) -> None:
    """The line that comes first. Its default address is the demo's: `test_address.py` compares the two."""
    block = blocks(README, "sh")[0].replace(". .venv/bin/activate\n", "")
    out = await pasted(["bash", "-eu", "-c", block], demo)
    assert re.search(r"astronaut\.jpg  matched  \d{16,}  \d+  0\.\d+ ", out)


async def test_the_python_snippet_finds_the_portrait(demo: str) -> None:
    """One line per match: the person and the score."""
    (snippet,) = blocks(README, "python")
    out = await pasted([sys.executable, "-c", at(demo, snippet)], demo)
    assert re.fullmatch(r"\d{16,} 0\.\d+\n", out)


async def test_the_grpcurl_line_finds_the_portrait(demo: str) -> None:
    """By reflection, without a schema."""
    require_tool("grpcurl", "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@latest")
    out = await pasted(["bash", "-euo", "pipefail", "-c", at(demo, blocks(README, "sh")[1])], demo)
    assert '"outcome": "SEARCH_OUTCOME_MATCHED"' in out
