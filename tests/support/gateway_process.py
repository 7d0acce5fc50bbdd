"""The gateway as its operators run it, a process of its own, whose memory can be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from tests.support.command import started
from tests.support.valkey import free_port


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
    address = f"127.0.0.1:{free_port()}"
    listeners = {"server": {"listen": address}, "ops": {"listen": "127.0.0.1:0"}}
    (folder / "facegate.yaml").write_text(yaml.safe_dump(settings | listeners))
    process = await started("serve", "--config", str(folder / "facegate.yaml"), environ=environ)
    # Read all along: a full pipe would hold the process up.
    output = asyncio.create_task(process.communicate())
    try:
        async with grpc.aio.insecure_channel(address) as channel, asyncio.timeout(20):
            with suppress(TimeoutError):
                await asyncio.wait(
                    {asyncio.ensure_future(channel.channel_ready()), output}, return_when="FIRST_COMPLETED"
                )
        assert process.returncode is None, (await output)[1].decode()
        yield GatewayProcess(address, process.pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await output
