"""Runs the real command line as a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


async def started(*arguments: str, environ: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
    """`facegate ARGUMENTS`, running."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FACEGATE_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
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
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def facegate(*arguments: str, environ: Mapping[str, str] | None = None) -> Ended:
    """Runs `facegate ARGUMENTS` to its end."""
    return await ended(await started(*arguments, environ=environ))
