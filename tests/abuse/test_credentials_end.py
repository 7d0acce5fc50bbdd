"""A credential counts when the call is carried out, not when its headers came."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

from facegate.admin.v1.admin_service_pb2 import PurgeCacheRequest
from facegate.search.v1 import face_search_service_pb2 as pb

from bench.requests import Requests
from gateway.auth.tokens import new_token
from tests.support import frames
from tests.support.abuse_stage import ATTACKER, abuse_stage
from tests.support.callers import SPIFFE_ID, holder_of, tenant, tls_settings
from tests.support.open_loop import SEARCH
from tests.support.pki import Authority, client_context
from tests.support.raw_connection import RawConnection

GET_QUOTA = "/facegate.search.v1.FaceSearchService/GetQuota"
PURGE = "/facegate.admin.v1.AdminService/PurgeCache"
CALLS = 8
UNAUTHENTICATED, PERMISSION_DENIED = 16, 7
BODY = frames.message(Requests.of(40_000, "CACHE_MODE_BYPASS").same)
# So much of each body comes with its headers.
BEGUN = 100


async def test_a_revoked_token_ends_what_it_began(tmp_path: Path) -> None:
    """Searches whose headers came before the revocation and whose bodies come after it: refused, and not billed."""
    async with abuse_stage(tmp_path) as stage:
        connection = await RawConnection.open(stage.gateway.address)
        begun = [connection.call(SEARCH, stage.bearer, BODY[:BEGUN], end=False) for _ in range(CALLS)]
        others = [one for one in stage.settings["tenants"] if one["id"] != ATTACKER]
        stage.reconfigure(tenants=others)
        await until_refused(connection, stage.bearer, UNAUTHENTICATED)
        counts = await finish(connection, begun, BODY[BEGUN:])
        stage.keep("revoked token between headers and body", None, None, str(dict(counts)))

        assert counts == {"status 16": CALLS}
        assert (await stage.vendor.stats())["received"] == 0
        connection.close()


async def test_a_demoted_operator_purges_nothing(tmp_path: Path) -> None:
    """The permission is looked at again too."""
    token = new_token()
    operator = tenant("ops", holder_of(token), role="operator")
    metadata = [("authorization", f"Bearer {token}")]
    body = frames.message(PurgeCacheRequest(all=True).SerializeToString())
    async with abuse_stage(tmp_path, tenants=[operator]) as stage:
        connection = await RawConnection.open(stage.gateway.address)
        begun = [connection.call(PURGE, metadata, body[:3], end=False) for _ in range(CALLS)]
        stage.reconfigure(tenants=[{**operator, "role": "caller"}])
        await until_refused(connection, metadata, PERMISSION_DENIED, path=PURGE, body=body)
        counts = await finish(connection, begun, body[3:])
        stage.keep("demoted operator between headers and body", None, None, str(dict(counts)))

    assert counts == {"status 7": CALLS}


async def test_a_certificate_that_has_ended_searches_nothing(tmp_path: Path) -> None:
    """It was valid when the connection was made and when the headers came."""
    began = time.time()
    authority = Authority(now=began)
    server = {"tls": tls_settings(tmp_path, authority.server(), authority.pem)}
    async with abuse_stage(tmp_path, server=server, tenants=[tenant("kyc", {"spiffe_id": SPIFFE_ID})]) as stage:
        short = authority.workload(SPIFFE_ID, valid_for=time.time() - began + 3)
        connection = await RawConnection.open(stage.gateway.address, tls=client_context(tmp_path, authority, short))
        begun = [connection.call(SEARCH, (), BODY[:BEGUN], end=False) for _ in range(CALLS)]
        await until_refused(connection, (), UNAUTHENTICATED)
        counts = await finish(connection, begun, BODY[BEGUN:])
        stage.keep("certificate that ends between headers and body", None, None, str(dict(counts)))

        assert counts == {"status 16": CALLS}
        assert (await stage.vendor.stats())["received"] == 0
        connection.close()


async def until_refused(
    connection: RawConnection,
    metadata: frames.Metadata,
    status: int,
    *,
    path: str = GET_QUOTA,
    body: bytes = frames.message(pb.GetQuotaRequest().SerializeToString()),
) -> None:
    """Waits until new calls with the credential are refused."""
    async with asyncio.timeout(30):
        while True:
            stream = connection.call(path, metadata, body)
            while stream not in connection.ends:
                assert not connection.gone.is_set()
                await asyncio.sleep(0.005)
            if connection.ends[stream].status == status:
                return
            await asyncio.sleep(0.1)


async def finish(connection: RawConnection, streams: list[int], rest: bytes) -> Counter[str]:
    """Sends the rest of each body; how the calls ended."""
    for stream in streams:
        if stream in connection.open_streams:
            connection.more(stream, rest, end=True)
    async with asyncio.timeout(30):
        while not all(stream in connection.ends for stream in streams):
            assert not connection.gone.is_set()
            await asyncio.sleep(0.005)
    return Counter(str(connection.ends[stream]) for stream in streams)
