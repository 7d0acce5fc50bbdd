"""An attacker as a process of its own, so that its processor time is neither the gateway's nor the honest callers'.

`python -m tests.support.attack_process MODULE NAME ADDRESS OPTIONS` runs one attack: a coroutine function of `MODULE`. It
prints a line once the attack is on, goes on until its standard input ends, and prints its figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import uvloop

from tests.support.raw_connection import RawConnection


@dataclass
class Attack:
    """What an attack works with: its target, its options, its connections and whether it still goes on."""

    address: str
    options: dict[str, Any]
    connections: list[RawConnection] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    async def connect(self, **how: Any) -> RawConnection:
        """Another connection; `how` as for `RawConnection.open`."""
        connection = await RawConnection.open(self.address, **how)
        self.connections.append(connection)
        return connection

    def is_on(self) -> None:
        """The attack has begun in full: the measuring may begin."""
        print("on", flush=True)  # noqa: T201 - what the test reads


@dataclass
class Figures:
    """What an attack came to. `ends`: how many of its calls ended how. `unsent`: bytes that the server did not take."""

    sent: int = 0
    received: int = 0
    unsent: int = 0
    connections_lost: int = 0
    processor_seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def attacked(
    module: str, name: str, address: str, *, to_its_end: bool = False, within_seconds: float = 120, **options: Any
) -> AsyncIterator[Figures]:
    """The attack goes on inside the block, or else `to_its_end`; its figures are there after the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.attack_process",
        module,
        name,
        address,
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    figures = Figures()
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        assert line == b"on\n", "the attack did not begin"
        yield figures
        if not to_its_end:
            process.stdin.close()
        found = json.loads(await asyncio.wait_for(process.stdout.read(), within_seconds))
        await process.wait()
        found["ends"] = Counter(found["ends"])
        vars(figures).update(found)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _main(module: str, name: str, address: str, options: str) -> None:
    attack = Attack(address, json.loads(options))
    running = asyncio.create_task(getattr(import_module(module), name)(attack))
    # The end of standard input ends the attack.
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ending = asyncio.create_task(reader.read())
    await asyncio.wait((running, ending), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    ending.cancel()
    running.cancel()
    await asyncio.wait((running, ending))
    connections = attack.connections
    figures = Figures(
        sent=sum(one.sent for one in connections),
        received=sum(one.received for one in connections),
        unsent=sum(one.unsent for one in connections),
        connections_lost=sum(one.gone.is_set() for one in connections),
        processor_seconds=time.process_time(),
        ends=sum((one.counted() for one in connections), Counter()),
        notes=attack.notes,
    )
    print(json.dumps(vars(figures)))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
