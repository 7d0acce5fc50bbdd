"""A gateway under many TLS handshakes at once, as a process of its own: what fails here ends the process.

`python -m tests.support.handshakes FOLDER SECONDS` prints the number of handshakes that succeeded.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.gateway import config_of, running
from tests.support.pki import Authority
from tests.support.upstream import FakeUpstream

_CALLERS = 8


def _shake_hands(port: int, until: float) -> int:
    done = 0
    while time.monotonic() < until:
        ssl.get_server_certificate(("127.0.0.1", port), timeout=30)
        done += 1
    return done


async def _main(folder: Path, seconds: float) -> None:
    server = Authority().server("localhost")
    (folder / "tls.crt").write_bytes(server.certificate)
    (folder / "tls.key").write_bytes(server.key)
    tls = {"cert_file": str(folder / "tls.crt"), "key_file": str(folder / "tls.key")}
    async with running(config_of(server={"tls": tls}), upstream=FakeUpstream()) as gateway:
        port, until = int(gateway.address.rpartition(":")[2]), time.monotonic() + seconds
        with ThreadPoolExecutor(_CALLERS) as callers:
            loop = asyncio.get_running_loop()
            counts = await asyncio.gather(
                *(loop.run_in_executor(callers, _shake_hands, port, until) for _ in range(_CALLERS))
            )
    print(sum(counts))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2])))
