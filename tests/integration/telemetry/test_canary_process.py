"""The canary sweep of a real process: everything that `facegate serve` writes while it works, fails and crashes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import grpc
import orjson
import yaml
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from tests.support.canaries import OTHER_PHOTO, PHOTO, TOKEN, leaks
from tests.support.canary_calls import BAD, OK, signed
from tests.support.canary_stage import settings
from tests.support.tools import ROOT
from tests.support.valkey import free_port
from tests.support.vendor import Vendor, answering, response


async def test_no_canary_is_in_what_a_process_writes(tmp_path: Path) -> None:
    """On stdout and stderr, until its own crash and through it."""
    address = f"127.0.0.1:{free_port()}"
    async with Vendor(answering([OK, response(500, BAD)])) as vendor:
        sections = settings(tmp_path, vendor.base_url, None)
        sections["server"]["listen"] = address
        sections["ops"] = {"listen": "127.0.0.1:0"}
        (tmp_path / "facegate.yaml").write_text(yaml.safe_dump(sections))
        arguments = ("-m", "tests.support.canary_process", "serve", "--config", str(tmp_path / "facegate.yaml"))
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT, stdout=-1, stderr=-1)
        # Read all along: a full pipe would hold the process up.
        output = asyncio.create_task(process.communicate())
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                stub: Any = FaceSearchServiceStub(channel)
                ends = [await end(stub, image, threshold) for image, threshold in SEARCHES]
            assert ends == ["OK", "INTERNAL", "INTERNAL"]
        finally:
            process.terminate()
            out, err = await asyncio.wait_for(output, 20)
    assert leaks({"stdout": out, "stderr": err}) == set()
    assert process.returncode == 1
    events = {orjson.loads(line)["event"] for line in out.splitlines()}
    assert {"rpc.ended", "rpc.unhandled_exception", "process.thread_crashed", "process.unraisable"} <= events
    # The last one is written after the log was closed.
    assert {"library.message", "audit.search", "process.crashed"} <= events


# One that is answered, one that the vendor fails, one that meets a bug.
SEARCHES = ((PHOTO, 0.8), (PHOTO, 0.1), (OTHER_PHOTO, 0.8))


async def end(stub: Any, image: bytes, threshold: float) -> str:
    """How a search ends."""
    request = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=image), threshold=threshold)
    call = stub.SearchFace(request, metadata=signed(TOKEN), timeout=20, wait_for_ready=True)
    return str((await call.code()).name)
