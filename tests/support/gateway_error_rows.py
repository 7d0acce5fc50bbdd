"""The rows of the error table that the gateway answers by itself: how each is brought about, over real gRPC.

A row is a function that sets up what it needs in a folder and returns what the caller got. None of them may cost the
tenant anything: each one checks it, or the vendor's count of calls, itself.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from facegate.admin.v1 import admin_service_pb2 as admin
from facegate.admin.v1.admin_service_pb2_grpc import AdminServiceStub
from facegate.search.v1 import face_search_service_pb2 as pb

from tests.support.conditions import eventually
from tests.support.end_to_end import API_SECRET, REQUEST_ID, TENANT, UPSTREAM_FACE_SET, Stage, staged
from tests.support.gateway import Refusal
from tests.support.oidc import SigningKey, key_set
from tests.support.upstream import FakeUpstream
from tests.support.valkey import free_port

Produce = Callable[[Path], Awaitable[Refusal]]
GATEWAY_ROWS: dict[str, tuple[str, Produce]] = {}
ISSUER = "https://issuer.example"
SEARCH_METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
NO_CACHE = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)


def row(name: str, reason: str) -> Callable[[Produce], Produce]:
    """Adds a function to the rows."""

    def add(produce: Produce) -> Produce:
        GATEWAY_ROWS[name] = (reason, produce)
        return produce

    return add


@asynccontextmanager
async def unbilled(folder: Path, **options: Any) -> AsyncIterator[Stage]:
    """A stage on which nothing goes upstream and nothing is charged."""
    async with staged(folder, **options) as stage:
        yield stage
        assert stage.sandbox.stats.total.calls == 0
        assert await stage.used() == 0


@asynccontextmanager
async def at_the_vendor(stage: Stage) -> AsyncIterator[None]:
    """One search of the tenant's stays at the vendor meanwhile."""
    stage.sandbox.faults.post({"kind": "hang", "calls": 1})
    held = stage.search(cache_control=NO_CACHE)
    await eventually(lambda: stage.sandbox.stats.total.in_flight == 1, "the search is at the vendor")
    yield
    held.cancel()
    stage.sandbox.faults.clear()


async def _called_with(stage: Stage, *authorization: str) -> Refusal:
    metadata = (*(("authorization", value) for value in authorization), ("x-request-id", REQUEST_ID))
    return await stage.refused(stage.stub.SearchFace(pb.SearchFaceRequest(), metadata=metadata))


@row("no credentials", "CREDENTIALS_INVALID")
async def _no_credentials(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await _called_with(stage)


@row("an unknown token", "CREDENTIALS_INVALID")
async def _unknown_token(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await _called_with(stage, f"Bearer {stage.token}x")


@row("two credentials", "CREDENTIALS_INVALID")
async def _two_credentials(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await _called_with(stage, f"Bearer {stage.token}", "Bearer another")


@row("a caller without a tenant", "TENANT_NOT_ALLOWED")
async def _without_tenant(folder: Path) -> Refusal:
    key = SigningKey()
    (folder / "keys.json").write_bytes(key_set(key.jwk()))
    issuer = {"issuer": ISSUER, "audience": "facegate", "jwks_file": str(folder / "keys.json")}
    async with unbilled(folder, auth={"anonymous_tenant": None, "jwt_issuers": [issuer]}) as stage:
        now = time.time()
        claims = {"iss": ISSUER, "aud": "facegate", "sub": "a stranger", "iat": now, "exp": now + 60}
        return await _called_with(stage, f"Bearer {key.sign(claims)}")


@row("a face set of nobody", "FACE_SET_NOT_ALLOWED")
async def _no_such_face_set(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await stage.refused(stage.search(face_set="nonsense"))


@row("a face set by the upstream's name", "FACE_SET_NOT_ALLOWED")
async def _upstream_face_set(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await stage.refused(stage.search(face_set=UPSTREAM_FACE_SET))


@row("an operator's method", "OPERATION_NOT_ALLOWED")
async def _operators_method(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        purge = AdminServiceStub(stage.channel).PurgeCache
        return await stage.refused(purge(admin.PurgeCacheRequest(all=True), metadata=stage.metadata))


@row("a method that is not there", "NOT_IMPLEMENTED")
async def _no_such_method(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await stage.refused(_raw(stage, "/facegate.search.v1.FaceSearchService/Nonsense", b""))


@row("a request that breaks rules", "INVALID_REQUEST")
async def _broken_rules(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        refused = await stage.refused(stage.search(face_set="?", threshold=2.0, max_results=0))
        violations = refused.details["BadRequest"].field_violations
        assert [violation.field for violation in violations] == ["face_set", "threshold", "max_results"]
        return refused


@row("bytes that are no request", "INVALID_REQUEST")
async def _junk(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await stage.refused(_raw(stage, SEARCH_METHOD, b"\xff\xff\xff"))


@row("an image that cannot be searched", "IMAGE_REJECTED")
async def _bad_image(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        refused = await stage.refused(stage.search(image=pb.Image(content=b"GIF89a" + bytes(200))))
        assert [one.field for one in refused.details["BadRequest"].field_violations] == ["image.content"]
        return refused


@row("faster than the rate", "TENANT_RATE_LIMITED")
async def _rate(folder: Path) -> Refusal:
    async with staged(folder, limits={"rate": {"per_second": 0.01, "burst": 1}}) as stage:
        await stage.search()
        refused = await stage.refused()
        _assert_violation(refused, "rate")
        early = await stage.refused()
        assert early.reason == refused.reason, "the refusal by headers alone is the same"
        _assert_violation(early, "rate")
        assert await stage.used() == stage.sandbox.stats.total.calls == 1
        return refused


@row("more at once than the limit", "TENANT_CONCURRENCY_EXCEEDED")
async def _concurrency(folder: Path) -> Refusal:
    async with staged(folder, limits={"concurrency": 1}) as stage, at_the_vendor(stage):
        refused = await stage.refused()
        _assert_violation(refused, "concurrency")
        assert await stage.used() == stage.sandbox.stats.total.calls == 1
        return refused


@row("no upstream calls left", "TENANT_QUOTA_EXCEEDED")
async def _quota(folder: Path) -> Refusal:
    async with staged(folder, limits={"upstream_calls": {"per_day": 1}}) as stage:
        await stage.search()
        refused = await stage.refused(stage.search(cache_control=NO_CACHE))
        _assert_violation(refused, "upstream_calls_per_day")
        assert (await stage.search()).cache.status == pb.CACHE_STATUS_HIT, "a hit still costs nothing"
        assert await stage.used() == stage.sandbox.stats.total.calls == 1
        return refused


@row("no place for another call", "GATEWAY_OVERLOADED")
async def _overloaded(folder: Path) -> Refusal:
    async with staged(folder, server={"max_concurrent_rpcs": 1}) as stage, at_the_vendor(stage):
        refused = await stage.refused()
        assert stage.sandbox.stats.total.calls == 1
        return refused


@row("no connection left to the vendor", "GATEWAY_OVERLOADED")
async def _upstream_full(folder: Path) -> Refusal:
    async with staged(folder, upstream_settings={"max_connections": 1}) as stage, at_the_vendor(stage):
        refused = await stage.refused()
        assert await stage.used() == stage.sandbox.stats.total.calls == 1, "what did not go upstream is given back"
        return refused


@row("no quota store and the policy deny", "QUOTA_UNAVAILABLE")
async def _store_out(folder: Path) -> Refusal:
    sections: dict[str, Any] = {
        "stores": {"quota": f"valkey://127.0.0.1:{free_port()}/0"},
        "quota": {"on_store_failure": "deny"},
    }
    async with staged(folder, limits={"concurrency": 8}, **sections) as stage:
        refused = await stage.refused()
        assert stage.sandbox.stats.total.calls == 0
        return refused


@row("a deadline too short", "DEADLINE_TOO_SHORT")
async def _short_deadline(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        await stage.refused(stage.search(face_set="nonsense"))  # the connection is there
        for _ in range(50):
            refused = await stage.refused(stage.search(timeout=0.09))
            # On a busy machine the client's own clock may be first; its error has no details.
            if refused.details:
                break
        return refused


@row("not in the cache", "CACHE_MISS")
async def _cache_miss(folder: Path) -> Refusal:
    async with unbilled(folder) as stage:
        return await stage.refused(stage.search(cache_control=pb.CacheControl(mode=pb.CACHE_MODE_ONLY_IF_CACHED)))


@row("a bug", "GATEWAY_ERROR")
async def _bug(folder: Path) -> Refusal:
    broken = FakeUpstream(RuntimeError(f"secret={API_SECRET}"))
    async with unbilled(folder, upstream=broken) as stage:
        refused = await stage.refused()
        assert refused.message == "internal error"
        assert "RuntimeError" not in refused.everything
        assert len(broken.queries) == 1
        return refused


def _raw(stage: Stage, method: str, body: bytes) -> grpc.aio.UnaryUnaryCall[Any, Any]:
    send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = stage.channel.unary_unary(method)
    return send(body, metadata=stage.metadata, timeout=20)


def _assert_violation(refused: Refusal, limit: str) -> None:
    (violation,) = refused.details["QuotaFailure"].violations
    assert (violation.subject, violation.description) == (f"tenant:{TENANT}", limit)
