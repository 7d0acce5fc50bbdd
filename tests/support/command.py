"""Runs the real command line as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


async def started(
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    output: int = asyncio.subprocess.PIPE,
    before: Sequence[str] = (),
    given: int | None = None,
) -> asyncio.subprocess.Process:
    """`facegate ARGUMENTS`, running; `output` is where both of its streams go, `before` a command that runs the rest.

    `given` is its standard input, this process's own without one.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FACEGATE_")}
    return await asyncio.create_subprocess_exec(
        *before,
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        stdout=output,
        stderr=output,
        stdin=given,
        env={**clean, **(environ or {})},
    )


async def ended(process: asyncio.subprocess.Process, within_seconds: float = 60) -> Ended:
    """How the process ends by itself; it is killed if it does not within the time."""
    try:
        async with asyncio.timeout(within_seconds):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError("the command did not end") from None
    return Ended(process.returncode or 0, (out or b"").decode(), (err or b"").decode())


async def facegate(*arguments: str, environ: Mapping[str, str] | None = None, given: bytes | None = None) -> Ended:
    """Runs `facegate ARGUMENTS` to its end; `given` is its standard input."""
    if given is None:
        return await ended(await started(*arguments, environ=environ))
    reading, writing = os.pipe()
    try:
        process = await started(*arguments, environ=environ, given=reading)
    finally:
        os.close(reading)
    with os.fdopen(writing, "wb") as pipe, suppress(BrokenPipeError):
        await asyncio.to_thread(pipe.write, given)
    return await ended(process)


async def on_a_terminal(*arguments: str, columns: int = 120) -> Ended:
    """Runs `facegate ARGUMENTS` to its end, with both streams on a terminal; all that it wrote is in `out`."""
    ours, theirs = os.openpty()
    try:
        termios.tcsetwinsize(theirs, (40, columns))
        terminal = {"TERM": "xterm-256color", "COLUMNS": "", "NO_COLOR": ""}
        process = await started(*arguments, environ=terminal, output=theirs)
    finally:
        os.close(theirs)
    written = asyncio.create_task(asyncio.to_thread(_all_of, ours))
    result = await ended(process)
    return Ended(result.status, (await written).decode(), "")


def _all_of(terminal: int) -> bytes:
    """What is written until nobody holds the terminal's other end any more, which Linux reports as an error."""
    written = b""
    with os.fdopen(terminal, "rb", buffering=0) as opened, suppress(OSError):
        while piece := opened.read(4096):
            written += piece
    return written
