"""`buf curl` as a client that knows nothing but the gateway's address: reflection has to tell it the rest."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from tests.support.tools import require_tool


async def buf_curl(home: Path, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit status, stdout and stderr. `home` is where buf may keep what it likes."""
    tool = require_tool("buf", "pip install buf-bin")
    process = await asyncio.create_subprocess_exec(
        tool,
        *("curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home,
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home)},
    )
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
