"""Gateways in tests wait seconds for a store, so that a busy machine does not decide what callers get."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from tests.support.flaky_proxy import flaky_proxy
from tests.support.gateway import config_of, running
from tests.support.images import jpeg
from tests.support.replicas import key_file
from tests.support.upstream import FakeUpstream
from tests.support.valkey import running_store

REQUEST = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg()))


@pytest.mark.parametrize(
    ("patient", "slow_seconds", "status"), [(True, 0.2, pb.CACHE_STATUS_MISS), (False, 1.0, pb.CACHE_STATUS_BYPASS)]
)
async def test_a_slow_store_is_waited_for_if_a_test_is_patient(
    tmp_path: Path, patient: bool, slow_seconds: float, status: pb.CacheStatus.ValueType
) -> None:
    """And without patience it is the gateway as operators run it: the search goes on without the cache after 50 ms."""
    with running_store() as store:
        async with flaky_proxy(store.port) as proxy:
            config = config_of(stores={"cache": proxy.url, "key_file": key_file(tmp_path)})
            async with (
                running(config, upstream=FakeUpstream(), patient=patient) as gateway,
                grpc.aio.insecure_channel(gateway.address) as channel,
            ):
                proxy.delay_seconds = slow_seconds
                answer = await FaceSearchServiceStub(channel).SearchFace(REQUEST)
                assert answer.cache.status == status
