"""`facegate serve` in a hostile environment: with variables that print secrets, and without standard descriptors."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import orjson
import yaml
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from tests.support.callers import holder_of, tenant
from tests.support.metrics import metrics_page, values
from tests.support.tools import ROOT
from tests.support.valkey import free_port

TOKEN = "a-bearer-token-that-nobody-may-print-0123456789"


class Serving:
    """A gateway process on ports that were free, whether it says where it listens or not."""

    def __init__(self, process: asyncio.subprocess.Process, address: str, ops_address: str) -> None:
        self.process = process
        self.ops_address = ops_address
        self.address = address

    async def quota(self) -> Any:
        """One call with the token."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            stub: Any = FaceSearchServiceStub(channel)
            metadata = (("authorization", f"Bearer {TOKEN}"),)
            return await stub.GetQuota(pb.GetQuotaRequest(), metadata=metadata, timeout=20, wait_for_ready=True)

    async def page(self, path: str) -> str:
        """What the operators' listener says."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.ops_address}{path}") as answer:
            return await answer.text()

    async def end(self) -> tuple[str, str]:
        """What it wrote until its end, on stdout and stderr."""
        self.process.terminate()
        out, err = await asyncio.wait_for(self.process.communicate(), 30)
        assert self.process.returncode == 0
        return (out or b"").decode(), (err or b"").decode()


@asynccontextmanager
async def serving(
    folder: Path, redirections: str = "", stores: str = "memory://", **environ: str
) -> AsyncIterator[Serving]:
    """The gateway as a shell starts it with `facegate serve … REDIRECTIONS`."""
    address, ops_address = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        "server": {"listen": address},
        "ops": {"listen": ops_address},
        "upstream": {"base_url": "http://127.0.0.1:9", "credentials": [{"name": "a", "api_id_env": "ID", "api_secret_env": "S"}]},
        "stores": {"quota": stores},
        "tenants": [tenant("kyc", holder_of(TOKEN))],
    }  # fmt: skip
    file = folder / "facegate.yaml"
    file.write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        *(
            "sh",
            "-c",
            f'exec "$0" "$@" {redirections}',
            sys.executable,
            "-m",
            "gateway",
            "serve",
            "--config",
            str(file),
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "ID": "an-id", "S": "a-secret", **environ},
    )
    try:
        yield Serving(process, address, ops_address)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_variables_that_print_or_store_secrets_have_no_effect(tmp_path: Path) -> None:
    """No token on stderr, no file of session keys, and one line that names what was removed and no value."""
    keys = tmp_path / "session-keys"
    harmful = {"GRPC_TRACE": "all", "GRPC_VERBOSITY": "DEBUG", "SSLKEYLOGFILE": str(keys), "PYTHONASYNCIODEBUG": "1"}
    # A store over TLS has a context of Python's own making, which is what opens the file of keys.
    async with serving(tmp_path, stores=f"valkeys://127.0.0.1:{free_port()}/0", **harmful) as gateway:
        assert (await gateway.quota()).tenant == "kyc"
        out, err = await gateway.end()
    assert TOKEN not in out + err
    assert err == ""
    assert not keys.exists()
    (line,) = [event for event in map(orjson.loads, out.splitlines()) if event["event"] == "process.variables_removed"]
    assert sorted(line["variables"]) == sorted(harmful)
    assert str(keys) not in out


async def test_without_stdout_it_serves_and_says_that_lines_are_lost(tmp_path: Path) -> None:
    """Once on stderr, on `/readyz`, and in a metric that counts them."""
    async with serving(tmp_path, ">&-") as gateway:
        assert (await gateway.quota()).tenant == "kyc"
        assert await gateway.page("/readyz") == "ready\nproblem: log: lines and audit events cannot be written\n"
        lost = values(await metrics_page(gateway.ops_address))
        assert lost['facegate_log_lines_lost_total{queue="audit"}'] >= 1
        assert lost['facegate_log_lines_lost_total{queue="calls"}'] == 1
        out, err = await gateway.end()
    assert out == ""
    assert err == "facegate: stdout is closed: log lines and audit events are lost\n"


async def test_it_serves_without_any_standard_descriptor(tmp_path: Path) -> None:
    """And no socket takes the number of one, which would send a caller what is printed."""
    async with serving(tmp_path, "<&- >&- 2>&-") as gateway:
        assert (await gateway.quota()).tenant == "kyc"
        opened = [os.readlink(f"/proc/{gateway.process.pid}/fd/{number}") for number in range(3)]  # noqa: PTH115 - of /proc
        assert opened == [os.devnull] * 3
        assert await gateway.end() == ("", "")


async def test_a_full_disk_shows_on_readyz_and_calls_go_on(tmp_path: Path) -> None:
    """`/dev/full` refuses every write."""
    async with serving(tmp_path, ">/dev/full") as gateway:
        assert (await gateway.quota()).tenant == "kyc"
        assert "problem: log: lines and audit events cannot be written\n" in await gateway.page("/readyz")
        assert await gateway.end() == ("", "")
