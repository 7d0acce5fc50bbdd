"""A gateway process in trouble, and calls to it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml
from facegate.search.v1 import face_search_service_pb2 as pb

from tests.support.alert_faults import Begin
from tests.support.gateway import SETTINGS
from tests.support.tools import ROOT
from tests.support.traffic import Traffic
from tests.support.valkey import free_port


@asynccontextmanager
async def process_in_trouble(folder: Path) -> AsyncIterator[tuple[str, Begin]]:
    """Its event loop blocked, its memory full, and nobody there who reads its log lines."""
    address, ops = (f"127.0.0.1:{free_port()}" for _ in range(2))
    (folder / "id").write_text("an-id")
    (folder / "secret").write_text("a-secret")
    files = {"api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
    upstream = {"base_url": f"http://127.0.0.1:{free_port()}", "credentials": [{"name": "primary", **files}]}
    settings = SETTINGS | {"server": {"listen": address}, "ops": {"listen": ops}, "upstream": upstream}
    (folder / "facegate.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "tests.support.troubled_process", "serve"]
    # Read by a pipe that is closed once: then nobody takes the lines.
    process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own could not give up one pipe
        [*command, "--config", str(folder / "facegate.yaml")], cwd=ROOT, stdout=-1, stderr=subprocess.DEVNULL
    )
    traffic = Traffic(address)
    try:
        await _live(ops, process)
        traffic.start(lambda: traffic.stub.GetQuota(pb.GetQuotaRequest(), wait_for_ready=True), lanes=2)

        async def begin() -> None:
            assert process.stdout is not None
            process.stdout.close()
            process.send_signal(signal.SIGUSR1)

        yield ops, begin
    finally:
        await traffic.close()
        process.kill()
        process.wait()


async def _live(ops: str, process: subprocess.Popen[bytes]) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(30):
        while True:
            assert process.poll() is None
            try:
                async with session.get(f"http://{ops}/livez") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)
