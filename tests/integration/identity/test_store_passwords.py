"""The stores' passwords are re-read like every other secret: a new connection is made with the one that is in the file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.clock import SystemClock
from gateway.watcher import FileWatcher
from tests.support.conditions import eventually
from tests.support.gateway import config_of, running
from tests.support.images import jpeg
from tests.support.mounted import Mounted
from tests.support.upstream import FakeUpstream
from tests.support.valkey import StoreServer, running_store

REQUEST = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg()))
PATIENCE_SECONDS = 20.0


class Store:
    """A server that lets `facegate` in by its password alone, and the tests in without one."""

    def __init__(self, server: StoreServer) -> None:
        self._server = server
        self.url = server.url.replace("://", "://facegate@")

    def allow(self, *passwords: str) -> None:
        """These passwords are good from now on, and no others. Ends the gateway's connections."""
        rules = ["resetpass", *(f">{password}" for password in passwords)]
        self._server.command("ACL", "SETUSER", "facegate", "on", "~*", "&*", "+@all", *rules)
        self._server.command("CLIENT", "KILL", "USER", "facegate")

    def connections(self) -> int:
        """Of the gateway."""
        return str(self._server.command("CLIENT", "LIST")).count("user=facegate")


async def upstream_is_spared(channel: grpc.aio.Channel) -> bool:
    """Whether a search is answered out of the shared cache and counted in the shared store."""
    try:
        answer = await FaceSearchServiceStub(channel).SearchFace(REQUEST, timeout=10)
    except grpc.aio.AioRpcError:
        return False
    return answer.cache.status == pb.CACHE_STATUS_HIT and not answer.quota_charge.degraded


@pytest.mark.parametrize("garbage", [b"", b"\xff\xfe"], ids=["empty", "not text"])
async def test_passwords_of_the_stores_are_exchanged(tmp_path: Path, garbage: bytes) -> None:
    """Three times, with garbage in between, which changes nothing; every connection is new after each exchange."""
    watcher = FileWatcher(clock=SystemClock(), interval_seconds=3600, settle_seconds=0)
    volume = Mounted(tmp_path / "stores", quota=b"password-0\n", cache=b"password-0\n", key=bytes(range(32)))
    with running_store() as server:
        store = Store(server)
        store.allow("password-0")
        config = config_of(
            stores={
                "quota": store.url,
                "cache": store.url,
                "key_file": str(volume["key"]),
                "quota_password_file": str(volume["quota"]),
                "cache_password_file": str(volume["cache"]),
            },
            tenants=[
                {"id": "demo", "face_sets": {"employees": "employees-prod"}, "limits": {"rate": {"per_second": 1000}}}
            ],
        )
        async with (
            running(config, upstream=FakeUpstream(), watcher=watcher) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            for number in (1, 2, 3):
                new = f"password-{number}"
                volume.swap(quota=garbage, cache=garbage)
                await watcher.poll()
                assert len(watcher.problems()) == 2
                store.allow(f"password-{number - 1}")
                await serves(channel, store)
                volume.swap(quota=new.encode(), cache=new.encode())
                await watcher.poll()
                assert watcher.problems() == ()
                store.allow(new)
                await serves(channel, store)


async def serves(channel: grpc.aio.Channel, store: Store) -> None:
    """Waits until both stores are in use again."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await upstream_is_spared(channel):
            await asyncio.sleep(0.05)
    await eventually(lambda: store.connections() >= 3, "quota, usage and cache are connected", PATIENCE_SECONDS)
