"""A stranger is refused on the headers alone, whatever becomes of the body."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.app import Gateway
from gateway.auth.tokens import new_token
from tests.support.callers import SPIFFE_ID, holder_of, tenant, tls_channel, tls_settings, who
from tests.support.gateway import config_of, refusal, refusal_of, running
from tests.support.http2 import Answer, http2_client
from tests.support.images import jpeg
from tests.support.pki import Authority, client_context
from tests.support.upstream import FakeUpstream

SERVICE = "/facegate.search.v1.FaceSearchService/"
SEARCH, BULK = SERVICE + "SearchFace", SERVICE + "BulkSearchFaces"
TOKEN = new_token()
# A message that says it is 5 MB long, with its first bytes and with all but its last.
PREFIX = b"\0" + struct.pack(">I", 5_000_000)
BEGUN, ALMOST = PREFIX + bytes(1000), PREFIX + bytes(4_999_999)
WITHIN_SECONDS = 0.05
ATTEMPTS = 8
UNAUTHENTICATED = "16"


@pytest.fixture
def upstream() -> FakeUpstream:
    return FakeUpstream()


@pytest.fixture
async def gateway(upstream: FakeUpstream) -> AsyncIterator[Gateway]:
    config = config_of(auth={"anonymous_tenant": None}, tenants=[tenant("kyc", holder_of(TOKEN))])
    async with running(config, upstream=upstream) as gateway:
        yield gateway


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        yield channel


async def stalled_calls(
    gateway: Gateway, path: str, metadata: list[tuple[str, str]], body: bytes, tls: ssl.SSLContext | None = None
) -> list[Answer]:
    """The answers to several calls whose request never ends, each on a connection that is warm."""
    async with http2_client(gateway.address, tls) as client:
        return [await client.call(path, metadata, body, wait_seconds=2) for _ in range(ATTEMPTS)]


@pytest.mark.parametrize("path", [SEARCH, BULK])
@pytest.mark.parametrize("body", [b"", BEGUN], ids=["headers only", "a body that stalls"])
@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", f"Bearer {new_token()}")],
        [("authorization", "Basic a3ljOmt5Yw==")],
        [("authorization", f"Bearer {TOKEN}"), ("authorization", f"Bearer {TOKEN}")],
    ],
    ids=["nothing", "a foreign token", "another scheme", "a good token twice"],
)
@pytest.mark.timed
async def test_a_stranger_is_refused_while_the_body_stalls(
    gateway: Gateway, path: str, body: bytes, metadata: list[tuple[str, str]]
) -> None:
    """Within 50 ms of the headers, when hardly a byte of the body can have been read: no more was sent."""
    answers = await stalled_calls(gateway, path, metadata, body)

    assert {answer.status for answer in answers} == {UNAUTHENTICATED}
    assert {answer.sent for answer in answers} == {len(body)}
    assert min(answer.seconds for answer in answers) < WITHIN_SECONDS


async def test_a_known_callers_body_is_waited_for(gateway: Gateway, upstream: FakeUpstream) -> None:
    """The control: with a good token the same frames get no answer until the last byte of the body."""
    async with http2_client(gateway.address) as client:
        answer = await client.call(SEARCH, [("authorization", f"Bearer {TOKEN}")], ALMOST, wait_seconds=1)

    assert answer.status is None
    assert answer.sent == len(ALMOST)
    assert upstream.queries == []


@pytest.mark.parametrize(("path", "streams_back"), [(SEARCH, False), (BULK, True)])
async def test_a_stub_that_never_sends_its_message_is_refused(
    channel: grpc.aio.Channel, path: str, streams_back: bool
) -> None:
    """A generated stub's open stream ends with the refusal and its details."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    kind: Any = channel.stream_stream if streams_back else channel.stream_unary
    call = kind(path)(nothing(), timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await (call.read() if streams_back else call)

    assert refusal_of(raised.value).reason == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("path", [SEARCH, BULK])
@pytest.mark.parametrize("body", [b"", BEGUN], ids=["headers only", "a body that stalls"])
@pytest.mark.timed
async def test_a_caller_with_a_certificate_of_nobody_is_refused_unread(tmp_path: Path, path: str, body: bytes) -> None:
    """The certificate is looked at by a handler, not on the headers, and still before the message is read."""
    authority = Authority()
    config = config_of(
        auth={"anonymous_tenant": None},
        server={"tls": tls_settings(tmp_path, authority.server(), authority.pem)},
        tenants=[tenant("kyc", {"spiffe_id": SPIFFE_ID})],
    )
    stranger = authority.workload(SPIFFE_ID, SPIFFE_ID + "2")
    async with running(config, upstream=FakeUpstream()) as gateway:
        answers = await stalled_calls(gateway, path, [], body, client_context(tmp_path, authority, stranger))

    assert {answer.status for answer in answers} == {UNAUTHENTICATED}
    assert {answer.sent for answer in answers} == {len(body)}
    assert min(answer.seconds for answer in answers) < WITHIN_SECONDS


@pytest.mark.parametrize(
    "metadata",
    [
        (("x-filler", "x" * 65_536),),
        tuple((f"x-filler-{number}", "x" * 1024) for number in range(64)),
    ],
    ids=["one value", "64 values"],
)
async def test_64_kib_of_metadata_are_refused(
    channel: grpc.aio.Channel, upstream: FakeUpstream, metadata: tuple[tuple[str, str], ...]
) -> None:
    """By the transport, every time and for good tokens too; the connection's other callers notice nothing."""
    for _ in range(2):
        assert await who(channel, TOKEN, metadata) == "RESOURCE_EXHAUSTED"
        assert await who(channel, TOKEN) == "kyc"
    assert upstream.queries == []


async def test_a_long_token_is_refused_and_harmless(channel: grpc.aio.Channel) -> None:
    """Just under the limit of all metadata."""
    assert await who(channel, "a" * 15_000) == "CREDENTIALS_INVALID"
    assert await who(channel, "a.b." + "c" * 12_000) == "CREDENTIALS_INVALID"
    assert await who(channel, TOKEN) == "kyc"


@pytest.mark.parametrize(
    "name",
    [
        "x-tenant-id",
        "x-tenant",
        "tenant",
        "tenant-id",
        "x-facegate-tenant",
        "x-forwarded-user",
        "x-user-id",
        "x-role",
        "x-auth-request-user",
        "proxy-authorization",
        "x-forwarded-access-token",
        "cookie",
    ],
)
async def test_a_header_names_no_tenant(channel: grpc.aio.Channel, name: str) -> None:
    """Neither for a stranger nor instead of the caller's own; whatever a proxy in front would believe."""
    for value in ("ops", "operator", f"Bearer {TOKEN}"):
        assert await who(channel, None, ((name, value),)) == "CREDENTIALS_INVALID"
        assert await who(channel, TOKEN, ((name, value),)) == "kyc"


async def test_a_forwarded_certificate_is_not_believed(tmp_path: Path) -> None:
    """`x-forwarded-client-cert` and its kin are what anyone can write."""
    authority = Authority()
    config = config_of(
        auth={"anonymous_tenant": None},
        server={"tls": tls_settings(tmp_path, authority.server(), authority.pem)},
        tenants=[tenant("kyc", {"spiffe_id": SPIFFE_ID}), tenant("ops", role="operator")],
    )
    unknown = authority.workload("spiffe://corp.example/ns/none/sa/none")
    async with (
        running(config, upstream=FakeUpstream()) as gateway,
        tls_channel(gateway.address, authority, unknown) as channel,
    ):
        for name in ("x-forwarded-client-cert", "ssl-client-cert", "x-spiffe-id", "x-client-cert"):
            assert await who(channel, None, ((name, f"URI={SPIFFE_ID}"),)) == "TENANT_NOT_ALLOWED"


async def test_a_caller_is_no_operator(gateway: Gateway, channel: grpc.aio.Channel) -> None:
    """Its token is good and its role decides; a stranger learns not even that."""
    purge: Any = channel.unary_unary("/facegate.admin.v1.AdminService/PurgeCache")
    known = await refusal(purge(b"\x08\x01", metadata=(("authorization", f"Bearer {TOKEN}"),)))
    stranger = await refusal(purge(b"\x08\x01"))

    assert (known.reason, stranger.reason) == ("OPERATION_NOT_ALLOWED", "CREDENTIALS_INVALID")


async def test_a_face_set_of_another_tenant_is_like_one_that_is_nowhere() -> None:
    """The same answer but for the call's own id, and neither reaches the upstream."""
    upstream = FakeUpstream()
    config = config_of(
        auth={"anonymous_tenant": None},
        tenants=[
            tenant("kyc", holder_of(TOKEN)),
            {"id": "other", "face_sets": {"visitors": "visitors-prod"}},
        ],
    )
    answers = []
    async with running(config, upstream=upstream) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        for alias in ("visitors", "nowhere1"):
            request = pb.SearchFaceRequest(face_set=alias, image=pb.Image(content=jpeg()))
            metadata = (("authorization", f"Bearer {TOKEN}"), ("x-request-id", "same"))
            answer = await refusal(FaceSearchServiceStub(channel).SearchFace(request, metadata=metadata))
            answers.append((answer.code, answer.message, answer.reason, answer.details, sorted(answer.trailers)))

    assert answers[0] == answers[1]
    assert answers[0][2] == "FACE_SET_NOT_ALLOWED"
    assert upstream.queries == []
