"""SIGTERM with callers that will not leave: the process ends when the calls have, not when its patience does."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub

from tests.support.abuse_stage import AbuseStage, abuse_stage, long_only
from tests.support.honest import OWN_CONNECTION

DRAIN_SECONDS = 8
# What an end without calls may take on a busy machine.
AT_ONCE_SECONDS = 4


async def ended_after(stage: AbuseStage) -> float:
    """Sends SIGTERM; how many seconds later the process is gone."""
    stage.meter.read()
    loop = asyncio.get_running_loop()
    began = loop.time()
    stage.gateway.process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(stage.gateway.process.wait(), DRAIN_SECONDS + 20)
    return loop.time() - began


@pytest.mark.timed
async def test_a_client_that_ignores_goaway_does_not_hold_the_drain(tmp_path: Path) -> None:
    """Its connection has no call: it is closed."""
    async with abuse_stage(tmp_path, server={"drain_seconds": DRAIN_SECONDS}) as stage:
        async with stage.attack("connections.stubborn") as attack:
            seconds = await ended_after(stage)
        stage.keep(
            "SIGTERM, a client ignores GOAWAY", None, None, f"ended after {seconds:.1f} s of at most {DRAIN_SECONDS}"
        )

    assert seconds < AT_ONCE_SECONDS
    assert attack.connections_lost == 1


@pytest.mark.timed
async def test_an_open_reflection_stream_does_not_hold_the_drain(tmp_path: Path) -> None:
    """It is ended, as health watches are."""
    async with (
        abuse_stage(tmp_path, server={"drain_seconds": DRAIN_SECONDS}) as stage,
        grpc.aio.insecure_channel(stage.gateway.address, OWN_CONNECTION) as channel,
    ):
        stub: Any = cast("Any", ServerReflectionStub)(channel)
        stream = stub.ServerReflectionInfo()
        await stream.write(ServerReflectionRequest(list_services=""))
        await stream.read()
        seconds = await ended_after(stage)
        stage.keep(
            "SIGTERM, an open reflection stream", None, None, f"ended after {seconds:.1f} s of at most {DRAIN_SECONDS}"
        )
        stream.cancel()

    assert seconds < AT_ONCE_SECONDS


@long_only
async def test_headers_without_their_end_are_not_waited_for(tmp_path: Path) -> None:
    """gRPC has no time for them. Its keep-alive ends the connection, which counts as an idle one until then."""
    async with abuse_stage(tmp_path) as stage:
        async with stage.attack("connections.unfinished_headers", to_its_end=True) as attack:
            pass
        stage.keep("HEADERS without END_HEADERS", attack, None, f"kept for {attack.notes['seconds']:.1f} s")

    assert attack.notes["seconds"] < 90
