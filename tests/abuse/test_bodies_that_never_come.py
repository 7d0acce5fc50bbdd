"""Headers whose bodies never come, and bodies that stop before their end: nobody else waits or is refused for them."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from gateway.auth.tokens import new_token
from tests.support.abuse_stage import ATTACKER, HONEST, abuse_stage, long_only, scaled
from tests.support.callers import SPIFFE_ID, tenant, tls_settings
from tests.support.honest import honest
from tests.support.open_loop import SEARCH
from tests.support.pki import Authority

CHECK = "/grpc.health.v1.Health/Check"
GET_QUOTA = "/facegate.search.v1.FaceSearchService/GetQuota"
# A tenant that is allowed next to nothing.
SMALL = {"limits": {"rate": {"per_second": 1}, "concurrency": 1}}
BUDGET_MIB = 64
# The budget once in gRPC's buffers, once in copies, and the beginnings of bodies that are left unread.
BUDGETS_RESIDENT = 3


@pytest.mark.parametrize(
    "path", [pytest.param(SEARCH, id="search"), pytest.param(GET_QUOTA, id="read", marks=long_only)]
)
async def test_headers_alone_take_nobodys_place(tmp_path: Path, path: str) -> None:
    """256 streams of a tenant with a concurrency of 1; another tenant is served throughout."""
    async with abuse_stage(tmp_path, attacker=SMALL) as stage, stage.honest() as caller:
        async with stage.attack(
            "bodies.headers_only", connections=4, streams=64, path=path, metadata=stage.bearer
        ) as attack:
            outcomes = await caller.search_for(scaled(2, 25))
        stage.keep(f"headers only, token, {path.rpartition('/')[2]}", attack, outcomes)

    assert outcomes.all_ok


async def test_headers_of_a_caller_with_a_certificate_take_nobodys_place(tmp_path: Path) -> None:
    """The same where callers show certificates, so that the tenant is known only in a handler."""
    authority = Authority()
    server = {"tls": tls_settings(tmp_path, authority.server(), authority.pem)}
    ids = {name: f"{SPIFFE_ID}/{name}" for name in (HONEST, ATTACKER)}
    shown = {name: authority.workload(uri) for name, uri in ids.items()}
    (tmp_path / "client.pem").write_bytes(shown[ATTACKER].certificate + shown[ATTACKER].key)
    tls = {"ca": server["tls"]["client_ca_file"], "client": str(tmp_path / "client.pem")}
    tenants = [tenant(HONEST, {"spiffe_id": ids[HONEST]}), {**tenant(ATTACKER, {"spiffe_id": ids[ATTACKER]}), **SMALL}]
    credentials = grpc.ssl_channel_credentials(authority.pem, shown[HONEST].key, shown[HONEST].certificate)
    async with (
        abuse_stage(tmp_path, server=server, tenants=tenants) as stage,
        honest(stage.gateway.address, None, credentials=credentials) as caller,
    ):
        async with stage.attack("bodies.headers_only", connections=4, streams=64, path=SEARCH, tls=tls) as attack:
            outcomes = await caller.search_for(scaled(2, 25))
        stage.keep("headers only, client certificate", attack, outcomes)

    assert outcomes.all_ok


async def test_stalled_checks_hold_no_memory(tmp_path: Path) -> None:
    """Uploads to an open service that stop at 7 MiB less one byte, with nobody's credentials."""
    streams = int(scaled(6, 60))
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        async with stage.attack("bodies.stalled", connections=4, streams=streams, path=CHECK) as attack:
            outcomes = await caller.search_for(scaled(2, 40))
        stage.keep("Check uploads stalled at 7 MiB - 1", attack, outcomes, f"{attack.ends.total()} ended")

    assert stage.grown_mib < 64
    assert outcomes.all_ok


async def test_stalled_bodies_of_a_tenant_stay_within_the_budget(tmp_path: Path) -> None:
    """What may still arrive counts as if it had; the rest is not read, and no other tenant is refused for it."""
    budget = {"max_body_bytes_in_flight": BUDGET_MIB << 20}
    streams = int(scaled(24, 64))
    async with abuse_stage(tmp_path, server=budget) as stage, stage.honest() as caller:
        async with stage.attack(
            "bodies.stalled", connections=4, streams=streams, path=SEARCH, metadata=stage.bearer
        ) as attack:
            outcomes = await caller.search_for(scaled(2.5, 40))
        stage.keep("stalled bodies of a tenant, budget 64 MiB", attack, outcomes)

    assert stage.grown_mib < BUDGETS_RESIDENT * BUDGET_MIB
    assert outcomes.all_ok


@long_only
async def test_stalled_bodies_of_strangers_are_not_read(tmp_path: Path) -> None:
    """The same with a credential of nobody: refused on the headers."""
    stranger = [("authorization", f"Bearer {new_token()}")]
    async with abuse_stage(tmp_path) as stage, stage.honest() as caller:
        async with stage.attack("bodies.stalled", connections=2, streams=32, path=SEARCH, metadata=stranger) as attack:
            outcomes = await caller.search_for(scaled(1.5, 10))
        stage.keep("stalled bodies of strangers", attack, outcomes)

    assert stage.grown_mib < 64
    assert outcomes.all_ok
