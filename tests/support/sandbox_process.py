"""The sandbox as a process of its own, steered over HTTP, so that its tasks and connections are not the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.command import started


@dataclass(frozen=True)
class SandboxProcess:
    """A running one."""

    url: str
    session: aiohttp.ClientSession

    async def fault(self, **fault: Any) -> None:
        """Posts a fault."""
        async with self.session.post(f"{self.url}/__sandbox/faults", json=fault) as response:
            assert response.status == 201, await response.text()

    async def stats(self) -> dict[str, Any]:
        """Its numbers."""
        async with self.session.get(f"{self.url}/__sandbox/stats") as response:
            stats: dict[str, Any] = await response.json()
            return stats


@asynccontextmanager
async def sandbox_process(faces: Path | None = None) -> AsyncIterator[SandboxProcess]:
    """`facegate sandbox` on a free port, with the photos in `faces` or those that are shipped."""
    arguments = ["--faces", str(faces)] if faces is not None else []
    process = await started("sandbox", "--listen", "127.0.0.1:0", *arguments)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        url = line.rpartition(" ")[2].strip()
        assert url.startswith("http://"), line
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
            yield SandboxProcess(url, session)
    finally:
        if process.returncode is None:
            process.terminate()
        # Also reads what is left of its output, so that no pipe stays open.
        await process.communicate()
