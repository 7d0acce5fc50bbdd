"""The load generator of our own: raw bytes over grpc.aio, with every answer's status looked at.

`python -m bench.client` reads one JSON job a line from stdin and writes one JSON result a line to stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import grpc
import uvloop
from facegate.search.v1 import face_search_service_pb2 as pb

from bench.requests import Requests

METHOD = "/facegate.search.v1.FaceSearchService/SearchFace"
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", 8 * 1024 * 1024))


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Makes `calls` calls, `concurrency` at a time over `connections`.

    The result: seconds, the latency of each in seconds, how many ended with which code, and how many answers each
    status of the cache had.
    """
    requests = Requests.of(job["image_bytes"], job["cache_mode"])
    metadata = tuple((str(key), str(value)) for key, value in job["metadata"])
    codes: Counter[str] = Counter()
    cache: Counter[str] = Counter()
    latencies: list[float] = []
    left = iter(range(job["calls"]))

    async def caller(call: Any) -> None:
        for _ in left:
            body = requests.unlike() if job["distinct"] else requests.same
            started = time.perf_counter()
            try:
                raw = await call(body, metadata=metadata, timeout=60)
            except grpc.aio.AioRpcError as error:
                codes[error.code().name] += 1
            else:
                codes["OK"] += 1
                if job["look_inside"]:
                    status = pb.SearchFaceResponse.FromString(raw).cache.status
                    cache[pb.CacheStatus.Name(status)] += 1
            latencies.append(time.perf_counter() - started)

    channels = [grpc.aio.insecure_channel(job["target"], options=_OPTIONS) for _ in range(job["connections"])]
    calls: list[Any] = [channel.unary_unary(METHOD) for channel in channels]
    try:
        await asyncio.gather(*(asyncio.wait_for(channel.channel_ready(), 20) for channel in channels))
        started = time.perf_counter()
        await asyncio.gather(*(caller(calls[i % len(calls)]) for i in range(job["concurrency"])))
        seconds = time.perf_counter() - started
    finally:
        for channel in channels:
            await channel.close()
    return {"seconds": seconds, "latencies": latencies, "codes": codes, "cache": cache}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(uvloop.run(run(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
