"""Callers without credentials: whatever they send, known callers are served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.abuse_stage import abuse_stage, scaled
from tests.support.callers import AUDIENCE, ISSUER, claims
from tests.support.honest import OWN_CONNECTION
from tests.support.oidc import SigningKey, encode

ATTACKERS_ADDRESS = "127.0.0.66"
# How much later than alone the slowest calls may be answered on a busy machine.
# The suite that runs at every change must bear a busy machine.
SLACK_SECONDS = scaled(2.0, 0.15)


async def test_watches_of_one_peer_leave_room_for_others(tmp_path: Path) -> None:
    """256 health watches from one address: a load balancer at another one still watches."""
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        async with (
            stage.attack("floods.empty_watches", calls=256, source=ATTACKERS_ADDRESS) as attack,
            grpc.aio.insecure_channel(stage.gateway.address, OWN_CONNECTION) as channel,
        ):
            health: Any = HealthStub(channel)
            watch = health.Watch(HealthCheckRequest(), timeout=30)
            try:
                seen = HealthCheckResponse.ServingStatus.Name((await watch.read()).status)
            except grpc.aio.AioRpcError as error:
                seen = error.code().name
            watch.cancel()
            outcomes = await caller.search_for(scaled(1, 5))
        stage.keep("256 empty Watches", attack, outcomes, f"another's Watch: {seen}")

    assert seen == "SERVING"
    assert outcomes.all_ok


@pytest.mark.timed
async def test_forged_tokens_hold_nobody_up(tmp_path: Path) -> None:
    """At full length 1,920 signatures to verify, at 16 bytes each."""
    key = SigningKey("RS256", rsa_bits=4096)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [key.jwk()]}))
    auth = {"jwt_issuers": [{"issuer": ISSUER, "audience": AUDIENCE, "jwks_file": str(tmp_path / "keys.json")}]}
    forged = key.sign(claims(4_000_000_000)).rpartition(".")[0] + "." + encode(bytes(range(256)) * 2)
    calls = scaled(640, 1920)
    async with abuse_stage(tmp_path, auth=auth) as stage, stage.honest() as caller:
        alone = await caller.search_for(1)
        async with stage.attack("floods.forged_tokens", token=forged, calls=calls) as attack:
            outcomes = await caller.search_for(scaled(2, 5))
        stage.keep(
            f"{calls:,} forged RSA-4096 JWTs", attack, outcomes, f"alone p99 {alone.percentile(99) * 1e3:.0f} ms"
        )

    assert outcomes.all_ok
    # They come in a fraction of a second, and a few calls come meanwhile.
    assert outcomes.percentile(80) < alone.percentile(99) + SLACK_SECONDS


@pytest.mark.timed
async def test_refused_calls_hold_nobody_up(tmp_path: Path) -> None:
    """Without a pause, 48 at a time on each of 4 connections."""
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        alone = await caller.search_for(1)
        async with stage.attack("floods.refused", connections=4, in_flight=48) as attack:
            outcomes = await caller.search_for(scaled(2, 10))
        ended = attack.ends.total()
        notes = f"{ended} refused, alone p99 {alone.percentile(99) * 1e3:.0f} ms"
        stage.keep("refused calls without a pause", attack, outcomes, notes)

    assert outcomes.all_ok
    assert outcomes.percentile(99) < alone.percentile(99) + SLACK_SECONDS


@pytest.mark.timed
async def test_a_reflection_stream_holds_nobody_up(tmp_path: Path) -> None:
    """One stream that asks for thirty times its own bytes, without a pause: it gets less than half a processor."""
    symbol = "facegate.search.v1.FaceSearchService"
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        alone, seconds = await caller.search_for(1), scaled(2, 10)
        async with stage.attack("floods.reflection_stream", symbol=symbol) as attack:
            outcomes = await caller.search_for(seconds)
        notes = f"{attack.received / max(1, attack.sent):.0f} times the bytes"
        stage.keep("one reflection stream", attack, outcomes, notes)

    assert outcomes.all_ok
    assert outcomes.percentile(99) < alone.percentile(99) + SLACK_SECONDS
    assert stage.meter.seconds < 0.5 * seconds
