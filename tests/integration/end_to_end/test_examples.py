"""What the README tells a newcomer to run: the example configuration before the sandbox, and the example client."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import yaml

from gateway.sandbox.server import DEMO_QUERY, SANDBOX_API_ID, SANDBOX_API_SECRET
from tests.support.gateway_process import gateway_process
from tests.support.sandbox_process import sandbox_process
from tests.support.tools import ROOT


async def test_the_example_client_searches_at_the_example_gateway(tmp_path: Path) -> None:
    """With the pair that `make run` sets, and without credentials of its own, the portrait is found."""
    settings = yaml.safe_load((ROOT / "examples" / "local.yaml").read_text())
    async with sandbox_process() as sandbox:
        # As it is, but for the sandbox's port.
        settings["upstream"]["base_url"] = sandbox.url
        pair = {"SANDBOX_API_ID": SANDBOX_API_ID, "SANDBOX_API_SECRET": SANDBOX_API_SECRET}
        async with gateway_process(tmp_path, settings, **pair) as gateway:
            client = await asyncio.create_subprocess_exec(
                *(sys.executable, ROOT / "clients" / "python" / "search.py", DEMO_QUERY, "employees", gateway.address),
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await client.communicate()
    assert client.returncode == 0
    (person_id, score) = out.decode().split()
    assert int(person_id) > 2**53
    assert 0.8 <= float(score) < 1
