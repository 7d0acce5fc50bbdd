"""The gateway as its operators run it, a process of its own, whose memory can be read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.command import started


@dataclass(frozen=True)
class GatewayProcess:
    """A running one."""

    address: str
    pid: int

    def peak_memory_mib(self) -> float:
        """The most memory that it ever had resident."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the kernel reports no VmHWM")


@asynccontextmanager
async def gateway_process(folder: Path, settings: dict[str, Any], **environ: str) -> AsyncIterator[GatewayProcess]:
    """`facegate serve` on a free port with these settings, once it takes connections."""
    listeners = {"server": {"listen": "127.0.0.1:0"}, "ops": {"listen": "127.0.0.1:0"}}
    (folder / "facegate.yaml").write_text(yaml.safe_dump(settings | listeners))
    process = await started("serve", "--config", str(folder / "facegate.yaml"), environ=environ)
    try:
        address = await asyncio.wait_for(_address_of(process), 60)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    # Read all along: a full pipe would hold the process up.
    output = asyncio.create_task(process.communicate())
    try:
        yield GatewayProcess(address, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await output


async def _address_of(process: asyncio.subprocess.Process) -> str:
    """Where the gateway says that it takes calls."""
    assert process.stdout is not None
    assert process.stderr is not None
    async for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "server.listening":
            return str(event["address"])
    raise AssertionError((await process.stderr.read()).decode())
