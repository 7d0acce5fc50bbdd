"""The gateway as its operators run it, a process of its own, whose memory can be read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.command import started
from tests.support.meter import resident_mib

_LISTENERS = ("server", "ops")


@dataclass(frozen=True)
class GatewayProcess:
    """A running one. `log` holds what it wrote so far, in the pieces in which it was read."""

    address: str
    ops_address: str
    config_file: Path
    process: asyncio.subprocess.Process
    log: list[bytes] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    def peak_memory_mib(self) -> float:
        """The most memory that it ever had resident."""
        return resident_mib(self.pid, peak=True)

    def lines(self) -> list[dict[str, Any]]:
        """The lines that it logged, without one that is not complete."""
        complete = b"".join(self.log).rpartition(b"\n")[0]
        return [json.loads(line) for line in complete.splitlines()]


@dataclass(frozen=True)
class Run:
    """How a gateway is run. `before` is a command that runs the rest of its arguments.

    `log_bytes_per_second`: how fast its log is read, if not at once. With `kill` it is not given the time to drain.
    """

    before: Sequence[str] = ()
    log_bytes_per_second: float | None = None
    kill: bool = False


@asynccontextmanager
async def gateway_process(
    folder: Path, settings: dict[str, Any], run: Run = Run(), /, **environ: str
) -> AsyncIterator[GatewayProcess]:
    """`facegate serve` on a free port with these settings, once it takes connections."""
    config_file = folder / "facegate.yaml"
    write_config(config_file, settings)
    process = await started("serve", "--config", str(config_file), environ=environ, before=run.before)
    try:
        address, ops_address = await asyncio.wait_for(_addresses_of(process), 60)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    gateway = GatewayProcess(address, ops_address, config_file, process)
    # Read all along: a full pipe would hold the process up.
    output = asyncio.gather(_keep(process.stdout, gateway.log, run.log_bytes_per_second), _keep(process.stderr, []))
    try:
        yield gateway
    finally:
        if process.returncode is None:
            if run.kill:
                process.kill()
            else:
                process.terminate()
        await output
        await process.wait()


def write_config(file: Path, settings: dict[str, Any]) -> None:
    """Writes a configuration whose listeners are on free ports of the loopback, unless it says where."""
    listeners = {name: {"listen": "127.0.0.1:0", **settings.get(name, {})} for name in _LISTENERS}
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump(settings | listeners))
    new.replace(file)


async def _addresses_of(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Where the gateway says that it takes calls, and where its operators ask."""
    assert process.stdout is not None
    assert process.stderr is not None
    found: dict[str, str] = {}
    async for line in process.stdout:
        event = json.loads(line)
        if event["event"] in {"server.listening", "ops.listening"}:
            found[event["event"]] = str(event["address"])
        if len(found) == 2:
            return found["server.listening"], found["ops.listening"]
    raise AssertionError((await process.stderr.read()).decode())


async def _keep(
    stream: asyncio.StreamReader | None, pieces: list[bytes], bytes_per_second: float | None = None
) -> None:
    assert stream is not None
    while piece := await stream.read(65536):
        pieces.append(piece)
        if bytes_per_second is not None:
            await asyncio.sleep(len(piece) / bytes_per_second)
