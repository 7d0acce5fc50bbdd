"""The listener itself: TLS, health, reflection, the port, and the way out."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from gateway.app import StartError
from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal, running
from tests.support.images import jpeg
from tests.support.pki import Authority
from tests.support.tools import ROOT, require_tool
from tests.support.upstream import FakeUpstream

if TYPE_CHECKING:
    from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceAsyncStub

# Past the cache, so that equal requests do not share one upstream call.
NO_CACHE = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)
REQUEST = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg()), cache_control=NO_CACHE)
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def health_stub(channel: grpc.aio.Channel) -> Any:
    """A health client; its published stubs know no asyncio."""
    return health_pb2_grpc.HealthStub(channel)


async def test_a_second_server_on_the_port_cannot_start() -> None:
    """gRPC would let it share the port in silence; the message names the address."""
    async with running(upstream=FakeUpstream()) as first:
        with pytest.raises(StartError, match="cannot listen on 127"):
            async with running(config_of(server={"listen": first.address}), upstream=FakeUpstream()):
                pass


async def test_a_taken_operators_port_is_a_start_error_too() -> None:
    """Nothing is half started."""
    async with running(upstream=FakeUpstream()) as first:
        with pytest.raises(StartError, match=r"ops\.listen"):
            async with running(config_of(ops={"listen": first.ops_address}), upstream=FakeUpstream()):
                pass


async def test_tls_answers_who_trusts_its_authority_and_nobody_else(tmp_path: Path) -> None:
    """Certificate and key come from files."""
    authority = Authority()
    server = authority.server("localhost")
    (tmp_path / "tls.crt").write_bytes(server.certificate)
    (tmp_path / "tls.key").write_bytes(server.key)
    tls = {"cert_file": str(tmp_path / "tls.crt"), "key_file": str(tmp_path / "tls.key")}
    async with running(config_of(server={"tls": tls}), upstream=FakeUpstream()) as gateway:
        port = gateway.address.rpartition(":")[2]
        good = grpc.ssl_channel_credentials(authority.pem)
        async with grpc.aio.secure_channel(f"localhost:{port}", good) as channel:
            stub: FaceSearchServiceAsyncStub = FaceSearchServiceStub(channel)
            assert (await stub.SearchFace(REQUEST)).matches
        bad = grpc.ssl_channel_credentials(Authority("another").pem)
        async with grpc.aio.secure_channel(f"localhost:{port}", bad) as channel:
            error = await refusal(FaceSearchServiceStub(channel).SearchFace(REQUEST, timeout=30))
            assert error.code == grpc.StatusCode.UNAVAILABLE


async def test_many_handshakes_at_once_do_no_harm(tmp_path: Path) -> None:
    """gRPC is told of a certificate once: told at every handshake, it swaps it under others and the process dies."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.handshakes", str(tmp_path), "4", cwd=ROOT, stdout=subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert int(output.split()[-1]) > 50


async def test_a_key_of_another_certificate_is_a_start_error(tmp_path: Path) -> None:
    """gRPC would start and fail every handshake."""
    authority = Authority()
    (tmp_path / "tls.crt").write_bytes(authority.server("localhost").certificate)
    (tmp_path / "tls.key").write_bytes(authority.server("localhost").key)
    tls = {"cert_file": str(tmp_path / "tls.crt"), "key_file": str(tmp_path / "tls.key")}
    with pytest.raises(StartError, match=r"tls\.key is not the key of .*tls\.crt"):
        async with running(config_of(server={"tls": tls}), upstream=FakeUpstream()):
            pass


async def test_health_is_open_to_everyone_and_names_each_service() -> None:
    """Probes need no credentials; an unknown name is NOT_FOUND."""
    config = config_of(auth={"anonymous_tenant": None})
    async with (
        running(config, upstream=FakeUpstream()) as gateway,
        grpc.aio.insecure_channel(gateway.address) as channel,
    ):
        health = health_stub(channel)
        for name in ("", "liveness", "facegate.search.v1.FaceSearchService", "facegate.admin.v1.AdminService"):
            assert (await health.Check(HealthCheckRequest(service=name))).status == SERVING, name
        error = await refusal(health.Check(HealthCheckRequest(service="nonsense")))
        assert error.code == grpc.StatusCode.NOT_FOUND


async def first_refusal(address: str) -> grpc.StatusCode:
    """The code of the first of many calls, each on a connection of its own, that is not answered."""
    while True:
        async with grpc.aio.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
            try:
                await FaceSearchServiceStub(channel).GetQuota(pb.GetQuotaRequest(), timeout=20)
            except grpc.aio.AioRpcError as error:
                # So many calls in a row exceed the tenant's rate of reads.
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    return error.code()


async def test_a_drain_finishes_what_is_in_flight_and_takes_nothing_new() -> None:
    """Not ready first, calls still taken in the lame duck, then none; a watch ends and does not hold it up."""
    upstream = FakeUpstream()
    upstream.hold.clear()
    config = config_of(server={"lame_duck_seconds": 2, "drain_seconds": 20})
    async with running(config, upstream=upstream) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        health, stub = health_stub(channel), FaceSearchServiceStub(channel)
        watch = health.Watch(HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        held = stub.SearchFace(REQUEST)
        await eventually(lambda: upstream.in_flight == 1, "the first call is in flight")
        closed = asyncio.create_task(gateway.wait_closed())
        gateway.begin_drain()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        in_lame_duck = stub.SearchFace(REQUEST)
        await eventually(lambda: upstream.in_flight == 2, "a call of the lame duck is taken")
        assert await first_refusal(gateway.address) == grpc.StatusCode.UNAVAILABLE
        assert not closed.done()
        upstream.hold.set()
        assert (await held).matches
        assert (await in_lame_duck).matches
        async with asyncio.timeout(30):
            await closed


async def test_a_drain_waits_for_searches_that_no_caller_waits_for() -> None:
    """They are billed; with the cache their answers are kept."""
    upstream = FakeUpstream()
    upstream.hold.clear()
    async with running(upstream=upstream) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
        call = FaceSearchServiceStub(channel).SearchFace(REQUEST)
        await eventually(lambda: upstream.in_flight == 1, "the call is in flight")
        call.cancel()
        gateway.begin_drain()
        closed = asyncio.create_task(gateway.wait_closed())
        done, _ = await asyncio.wait((closed,), timeout=0.3)
        assert not done
        upstream.hold.set()
        async with asyncio.timeout(30):
            await closed
        assert upstream.in_flight == 0


async def _grpcurl(*arguments: str, stdin: str = "") -> tuple[int, str]:
    tool = require_tool("grpcurl", "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3")
    process = await asyncio.create_subprocess_exec(
        tool, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_grpcurl_lists_describes_searches_and_decodes_errors() -> None:
    """Reflection is enough: no stubs, no protos, and details of errors in plain text."""
    async with running(upstream=FakeUpstream()) as gateway:
        status, listing = await _grpcurl("-plaintext", gateway.address, "list")
        assert status == 0
        assert {"facegate.search.v1.FaceSearchService", "facegate.admin.v1.AdminService"} <= set(listing.split())
        status, text = await _grpcurl("-plaintext", gateway.address, "describe", "facegate.search.v1.SearchFaceRequest")
        assert status == 0
        assert "optional double threshold = 3" in text
        method = "facegate.search.v1.FaceSearchService/SearchFace"
        body = {"face_set": "employees", "image": {"content": base64.b64encode(jpeg()).decode()}}
        status, text = await _grpcurl("-plaintext", "-d", "@", gateway.address, method, stdin=json.dumps(body))
        assert status == 0, text
        assert '"435449455488008194"' in text
        body["threshold"] = 2  # type: ignore[assignment]
        status, text = await _grpcurl("-plaintext", "-d", "@", gateway.address, method, stdin=json.dumps(body))
        assert status != 0
        for expected in ("InvalidArgument", "google.rpc.BadRequest", "threshold", "INVALID_REQUEST"):
            assert expected in text, text


async def test_reflection_can_be_switched_off() -> None:
    """Then its methods are as unknown as any other."""
    async with running(config_of(server={"reflection": False}), upstream=FakeUpstream()) as gateway:
        status, text = await _grpcurl("-plaintext", gateway.address, "list")
        assert status != 0
        assert "reflection" in text
