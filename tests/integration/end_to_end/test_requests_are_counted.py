"""Every request that the vendor got is one in the ledger, in the metric and in the log lines: it may bill each of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import grpc
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from tests.support.conditions import eventually
from tests.support.gateway import config_of, refusal_of, running
from tests.support.images import jpeg, jpeg_with_segments, segment
from tests.support.logs import caught_logs
from tests.support.metrics import metrics_page, values
from tests.support.vendor import OK, Connection, Vendor, upstream_of

SEARCHES, A_DAY = 20, 10


def large_photo() -> bytes:
    """More than the kernel takes at once: a small photo with long comments."""
    return jpeg_with_segments(jpeg(), *[segment(0xFE, bytes(65_000))] * 75)


@pytest.mark.parametrize("read", ["whole", "in part"])
async def test_a_vendor_that_ends_kept_connections(read: str, tmp_path: Path) -> None:
    """A request that was read whole is not repeated; one that is repeated counts twice."""
    cut_off = 0

    async def behaviour(connection: Connection) -> None:
        nonlocal cut_off
        connection.take_little()
        await connection.request()
        await connection.send(OK)
        if read == "whole":
            await connection.request()
        else:
            await connection.reader.readuntil(b"\r\n\r\n")
            cut_off += 1
        connection.reset()

    tenant = {"id": "demo", "face_sets": {"staff": "staff"}, "limits": {"upstream_calls": {"per_day": A_DAY}}}
    ends = Counter[str]()
    with caught_logs(tmp_path) as logs:
        async with Vendor(behaviour) as vendor:
            config = config_of(upstream=upstream_of(vendor, tmp_path), tenants=[tenant])
            async with running(config) as gateway, grpc.aio.insecure_channel(gateway.address) as channel:
                stub = FaceSearchServiceStub(channel)
                for _ in range(SEARCHES):
                    photo = pb.Image(content=jpeg() if read == "whole" else large_photo())
                    control = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)
                    request = pb.SearchFaceRequest(face_set="staff", image=photo, cache_control=control)
                    try:
                        await stub.SearchFace(request, timeout=20)
                        ends["OK"] += 1
                    except grpc.aio.AioRpcError as error:
                        ends[refusal_of(error).reason] += 1
                (day,) = (await stub.GetUsage(pb.GetUsageRequest())).days
                metric = values(await metrics_page(gateway.ops_address))["facegate_upstream_attempts_total"]
                await eventually(lambda: len(logs.lines("rpc.ended")) == SEARCHES + 1, "all calls are logged")
    logged = sum(line["upstream_attempts"] for line in logs.lines("rpc.ended"))
    requests = len(vendor.received) + cut_off
    assert requests == day.upstream_calls == metric == logged, ends
    assert day.charged_units == ends["OK"] <= A_DAY
    assert (day.searches, day.failures + day.quota_rejections) == (SEARCHES, SEARCHES - ends["OK"])
    if read == "whole":
        assert requests == SEARCHES - 1
        assert ends == {"OK": A_DAY, "UPSTREAM_UNAVAILABLE": A_DAY - 1, "TENANT_QUOTA_EXCEEDED": 1}
    else:
        assert requests == 2 * A_DAY - 1
        assert ends == {"OK": A_DAY, "TENANT_QUOTA_EXCEEDED": SEARCHES - A_DAY}
