"""What each role may call, over the wire, method by method; and that no method is without a rule."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from gateway.auth.tokens import new_token
from gateway.rpc.policy import POLICY
from gateway.rpc.services import SERVICES
from tests.support.callers import holder_of, tenant
from tests.support.gateway import config_of, refusal_of, running
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEARCH, ADMIN = "/facegate.search.v1.FaceSearchService/", "/facegate.admin.v1.AdminService/"
OWN = {SEARCH + name for name in ("SearchFace", "BulkSearchFaces", "GetQuota", "GetUsage")}
OTHERS = {ADMIN + name for name in ("PurgeCache", "ListTenantUsage", "GetStatus")}
MAY = {"caller": OWN, "operator": OWN | OTHERS}
TOKENS = {role: new_token() for role in MAY}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    tenants = [tenant(f"a-{role}", holder_of(token), role=role) for role, token in TOKENS.items()]
    config = config_of(auth={"anonymous_tenant": None}, tenants=tenants)
    async with (
        running(config, upstream=FakeUpstream()) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        yield channel


async def reason(channel: grpc.aio.Channel, path: str, token: str | None) -> str:
    """Why a call with an empty request is refused; empty if it is answered."""
    call: Any = channel.unary_unary(path)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        await call(b"", metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return ""


@pytest.mark.parametrize("path", sorted(OWN | OTHERS))
async def test_a_role_may_call_what_is_its_own_and_nothing_else(channel: grpc.aio.Channel, path: str) -> None:
    """A caller without the permission is told so; a stranger is told nothing but that it is one."""
    for role, allowed in MAY.items():
        found = await reason(channel, path, TOKENS[role])
        if path in allowed:
            assert found not in {"OPERATION_NOT_ALLOWED", "CREDENTIALS_INVALID", "GATEWAY_ERROR"}
        else:
            assert found == "OPERATION_NOT_ALLOWED"
    assert await reason(channel, path, None) == "CREDENTIALS_INVALID"


async def test_the_policy_lists_the_rpcs_of_the_contract_and_no_others() -> None:
    """Both ways: a line of an RPC that is gone would mislead who reads the table."""
    served = {f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods}
    assert served == set(POLICY) == OWN | OTHERS


@pytest.mark.parametrize("path", sorted(POLICY))
async def test_an_rpc_without_a_permission_does_not_start(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting the line of a new RPC must not open it to everyone."""
    monkeypatch.delitem(POLICY, path)
    with pytest.raises(ValueError, match=f"{path} has no permission"):
        async with running(upstream=FakeUpstream()):
            pass
