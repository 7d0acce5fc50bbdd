"""A process whose connections take every descriptor, while its configuration changes twice.

Run as `python -m tests.support.without_descriptors FILE RESERVED`. Prints which tenants came into force, how many files
the watcher rejects, and how many descriptors are held back.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from gateway.auth.authenticator import Authenticator
from gateway.auth.build import tenants_of
from gateway.clock import SystemClock
from gateway.config import load_config
from gateway.files import RESERVE
from gateway.reload import ConfigReload
from gateway.watcher import FileWatcher

# A process without a free descriptor cannot write the file either: a child that it started earlier does.
WRITER = """
import sys
for line in sys.stdin:
    open(sys.argv[1], "w").write(line)
    print(flush=True)
"""


def take_every_descriptor() -> list[object]:
    """Connections, and copies of a descriptor in the last places; for the caller to keep."""
    server = socket.create_server(("127.0.0.1", 0))
    taken: list[object] = [server]
    try:
        while True:
            taken.append(socket.create_connection(server.getsockname()))
            taken.append(server.accept()[0])
    except OSError:
        pass
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return taken


async def main(file: Path, reserved: int, writer: subprocess.Popen[bytes]) -> None:
    """Changes the file twice, and polls after each change."""
    config = load_config(file, check=False)
    in_force: list[list[str]] = []
    reload = ConfigReload(file, config, Authenticator(tenants_of(config)), in_force.append)
    assert writer.stdin is not None
    assert writer.stdout is not None
    with RESERVE.held(reserved):
        watcher = FileWatcher(clock=SystemClock(), settle_seconds=0)
        watcher.watch([file], reload, "configuration")
        taken = take_every_descriptor()
        for name in ("new", "newer"):
            writer.stdin.write(f"tenants: [{{id: {name}}}]\n".encode())
            writer.stdin.flush()
            writer.stdout.readline()
            await watcher.poll()
        sys.stdout.write(f"{in_force} {len(watcher.problems())} {len(RESERVE)}\n")
        taken.clear()


if __name__ == "__main__":
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), started))
    finally:
        started.kill()
