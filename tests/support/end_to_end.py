"""The whole way of a call: a client with a token, a real gateway with limits, the sandbox over real HTTP.

Everything that must not come out at the client is a value that occurs nowhere else, so that it can be searched for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.auth.tokens import new_token, token_digest
from gateway.sandbox.server import Account, Sandbox, run_sandbox
from gateway.upstream.port import Upstream
from tests.support.gateway import Refusal, config_of, refusal, running
from tests.support.images import jpeg

if TYPE_CHECKING:
    from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceAsyncStub

TENANT = "kyc"
FACE_SET = "staff"
PHOTO = jpeg()
REQUEST_ID = "case-7"

UPSTREAM_FACE_SET = "canary-face-set-1337"
API_ID = "canary-api-id-4711"
API_SECRET = "canary-api-secret-0815"
# What the vendor says for people. A careless vendor repeats what it was sent.
VENDOR_TEXT = f"canary-vendor-text: {API_SECRET} may not search {UPSTREAM_FACE_SET}"
# Not the address at which the gateway is called, so that it can be told from that one.
VENDOR_HOST = "localhost"
UPSTREAM_CALLS_A_DAY = 1000

_ALWAYS_PRIVATE = (UPSTREAM_FACE_SET, API_ID, API_SECRET, "canary-vendor", VENDOR_HOST, "127.0.0.1", "TID")


def request(**changes: Any) -> pb.SearchFaceRequest:
    """A search that is in order, and then changed."""
    fields: dict[str, Any] = {"face_set": FACE_SET, "image": pb.Image(content=PHOTO)}
    return pb.SearchFaceRequest(**(fields | changes))


@dataclass
class Stage:
    """A gateway, the sandbox behind it and a client before it."""

    gateway: Gateway
    sandbox: Sandbox
    channel: grpc.aio.Channel
    token: str

    @property
    def stub(self) -> FaceSearchServiceAsyncStub:
        """The client, without credentials."""
        return FaceSearchServiceStub(self.channel)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What the tenant's calls carry."""
        return (("authorization", f"Bearer {self.token}"), ("x-request-id", REQUEST_ID))

    def search(self, *, timeout: float | None = 20, **changes: Any) -> grpc.aio.UnaryUnaryCall[Any, Any]:
        """A search of the tenant, under way."""
        return self.stub.SearchFace(request(**changes), metadata=self.metadata, timeout=timeout)

    async def refused(self, call: grpc.aio.UnaryUnaryCall[Any, Any] | None = None) -> Refusal:
        """How `call`, by default a search, is refused. Fails if anything private is in what the client gets."""
        call = call if call is not None else self.search()
        refused = await refusal(call)
        self.assert_nothing_private(refused.everything + repr(tuple(await call.initial_metadata() or ())))
        return refused

    def assert_nothing_private(self, sent: str) -> None:
        """Fails if `sent` holds a secret, the vendor's address or words, or the upstream's name of a face set."""
        found = [private for private in (*_ALWAYS_PRIVATE, f":{self.sandbox.port}", self.token) if private in sent]
        assert not found, f"private data at the caller: {found}"

    async def used(self, limit: str = "upstream_calls_per_day") -> int:
        """What the tenant has used of a limit."""
        quota = await self.stub.GetQuota(pb.GetQuotaRequest(), metadata=self.metadata)
        return {known.id: known.used for known in quota.limits}[limit]


@asynccontextmanager
async def staged(
    folder: Path,
    *,
    limits: dict[str, Any] | None = None,
    upstream_settings: dict[str, Any] | None = None,
    upstream: Upstream | None = None,
    **sections: Any,
) -> AsyncIterator[Stage]:
    """A stage whose files are in `folder`. `sections` change the gateway's configuration."""
    faces = folder / "faces"
    (faces / UPSTREAM_FACE_SET).mkdir(parents=True)
    (faces / UPSTREAM_FACE_SET / "someone.jpg").write_bytes(PHOTO)
    for name, secret in (("id", API_ID), ("secret", API_SECRET)):
        (folder / name).write_text(secret)
    token = new_token()
    tenant = {
        "id": TENANT,
        "principals": [{"token_sha256": token_digest(token).hex()}],
        "face_sets": {FACE_SET: UPSTREAM_FACE_SET},
        "limits": {"upstream_calls": {"per_day": UPSTREAM_CALLS_A_DAY}, **(limits or {})},
    }
    async with run_sandbox(faces_dir=faces, accounts={API_ID: Account(API_SECRET)}, instant=True) as sandbox:
        vendor = {
            "base_url": f"http://{VENDOR_HOST}:{sandbox.port}",
            "credentials": [
                {"name": "primary", "api_id_file": str(folder / "id"), "api_secret_file": str(folder / "secret")}
            ],
            **(upstream_settings or {}),
        }
        config = config_of(**{"auth": {"anonymous_tenant": None}, "tenants": [tenant], "upstream": vendor, **sections})
        async with (
            running(config, upstream=upstream) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            yield Stage(gateway, sandbox, channel, token)
