"""Callers with credentials of every kind, and the tenants and files of a gateway that knows some of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.auth.tokens import token_digest
from tests.support.gateway import refusal_of
from tests.support.oidc import SigningKey
from tests.support.pki import Authority, Credentials

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "facegate"
SUBJECT = "system:serviceaccount:kyc:api"
WORKLOAD = {"jwt_issuer": ISSUER, "jwt_subject": SUBJECT}
SPIFFE_ID = "spiffe://corp.example/ns/kyc/sa/api"


def tenant(name: str, *principals: dict[str, str], **more: Any) -> dict[str, Any]:
    """A tenant's settings."""
    return {"id": name, "principals": list(principals), "face_sets": {"employees": f"{name}-prod"}, **more}


def holder_of(token: str) -> dict[str, str]:
    """The principal of a static token."""
    return {"token_sha256": token_digest(token).hex()}


def claims(now: float, **changes: Any) -> dict[str, Any]:
    """The claims of a good token; a change of None leaves one out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "iat": now, "exp": now + 3600}
    return {name: value for name, value in (good | changes).items() if value is not None}


def jwt_of(key: SigningKey, now: float, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """A token that is good but for `headers` and `changes`."""
    return key.sign(claims(now, **changes), headers)


async def who(
    channel: grpc.aio.Channel, token: str | None = None, metadata: tuple[tuple[str, str | bytes], ...] = ()
) -> str:
    """The tenant that the gateway takes a caller for, or else the reason of its refusal, or else its code."""
    if token is not None:
        metadata = (("authorization", f"Bearer {token}"), *metadata)
    try:
        answer = await FaceSearchServiceStub(channel).GetQuota(pb.GetQuotaRequest(), metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason or error.code().name
    return answer.tenant


def tls_settings(folder: Path, server: Credentials, clients: bytes) -> dict[str, Any]:
    """Writes a server's certificate and the authorities of its clients; the settings that name the files."""
    files = {"cert_file": server.certificate, "key_file": server.key, "client_ca_file": clients}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in files}


def tls_channel(address: str, authority: Authority, client: Credentials | None = None) -> grpc.aio.Channel:
    """A connection of its own, shared with no other channel, by a client that shows a certificate or none."""
    shown = (client.key, client.certificate) if client is not None else (None, None)
    return grpc.aio.secure_channel(
        f"localhost:{address.rpartition(':')[2]}",
        grpc.ssl_channel_credentials(authority.pem, *shown),
        options=(("grpc.use_local_subchannel_pool", 1),),
    )
