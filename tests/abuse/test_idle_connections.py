"""More idle connections than the process may have files open: the ports, `/readyz` and revocation go on working."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import grpc

from tests.support.abuse_stage import HONEST, AbuseStage, abuse_stage
from tests.support.attack_process import Figures
from tests.support.callers import who
from tests.support.gateway_process import Run
from tests.support.honest import OWN_CONNECTION, Honest

DESCRIPTORS, CONNECTIONS = 512, 700
FEW = ("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh")
# Bounds per peer may tell the attacker from honest callers by it.
ATTACKERS_ADDRESS = "127.0.0.66"


@asynccontextmanager
async def crowded(folder: Path) -> AsyncIterator[tuple[AbuseStage, Honest, Figures]]:
    """A stage with an honest caller that was there before the idle connections came."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(abuse_stage(folder, run=Run(before=FEW, kill=True)))
        caller = await stack.enter_async_context(stage.honest())
        attack = await stack.enter_async_context(
            stage.attack("connections.idle", connections=CONNECTIONS, source=ATTACKERS_ADDRESS)
        )
        yield stage, caller, attack


async def test_operators_and_callers_are_served(tmp_path: Path) -> None:
    """Callers that are connected, and `/readyz` on new connections."""
    async with crowded(tmp_path) as (stage, caller, attack):
        outcomes = await caller.search_for(1)
        try:
            ready = {str(await stage.ready()) for _ in range(3)}
        except (aiohttp.ClientError, TimeoutError) as error:
            ready = {type(error).__name__}
        stage.keep("700 idle connections, 512 descriptors", attack, outcomes, f"/readyz {ready}")

        assert outcomes.all_ok
        assert ready == {"200"}


async def test_a_new_caller_is_not_left_hanging(tmp_path: Path) -> None:
    """It is served, or learns at once that it has to go elsewhere; and it is served once the connections have gone."""
    async with abuse_stage(tmp_path, run=Run(before=FEW, kill=True)) as stage:
        token = stage.tokens[HONEST]
        async with (
            stage.attack("connections.idle", connections=CONNECTIONS, source=ATTACKERS_ADDRESS) as attack,
            grpc.aio.insecure_channel(stage.gateway.address, OWN_CONNECTION) as new,
        ):
            meanwhile = await who(new, token)
        async with grpc.aio.insecure_channel(stage.gateway.address, OWN_CONNECTION) as new:
            afterwards = await who(new, token)
        stage.keep(
            "700 idle connections, a new caller", attack, None, f"meanwhile {meanwhile}, afterwards {afterwards}"
        )

    assert meanwhile in {HONEST, "UNAVAILABLE"}
    assert afterwards == HONEST


async def test_a_new_caller_is_served_while_the_idle_ones_are_there(tmp_path: Path) -> None:
    """The idle connections of the address that has most give way to it within seconds."""
    async with crowded(tmp_path) as (stage, _, _), asyncio.timeout(30):
        while True:
            async with grpc.aio.insecure_channel(stage.gateway.address, OWN_CONNECTION) as new:
                if await who(new, stage.tokens[HONEST]) == HONEST:
                    return
            await asyncio.sleep(0.2)


async def test_a_removed_token_is_refused(tmp_path: Path) -> None:
    """Within seconds: files can be read all the time."""
    async with crowded(tmp_path) as (stage, caller, _):
        stage.reconfigure(tenants=[one for one in stage.settings["tenants"] if one["id"] != HONEST])
        async with asyncio.timeout(15):
            while (seen := await who(caller.channel, stage.tokens[HONEST])) == HONEST:
                await asyncio.sleep(0.2)
        assert seen == "CREDENTIALS_INVALID"
