"""A flood by strangers behind a log that nobody reads: every honest audit event is kept, and nothing goes uncounted."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import orjson
import pytest
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

from gateway.telemetry.lines import LineWriter
from gateway.telemetry.refusals import STRANGER_LINES
from tests.support.callers import holder_of, tenant
from tests.support.gateway import config_of, refusal, running
from tests.support.images import jpeg
from tests.support.logs import logging_to
from tests.support.metrics import metrics_page, values
from tests.support.upstream import FakeUpstream

TOKEN = "a-token-of-the-tests-alone-0123456789"
STRANGERS = 1500
HONEST = 190


class SlowReader:
    """A log shipper that reads nothing until it is let go, and then everything."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = bytearray()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while part := os.read(self._descriptor, 65536):
            self._text += part

    def go(self) -> None:
        """Reads from now on."""
        self._thread.start()

    def end(self) -> list[dict[str, Any]]:
        """Every line, once the other end is closed."""
        self._thread.join(10)
        return [orjson.loads(line) for line in self._text.splitlines()]


@contextmanager
def unread_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowReader]:
    """The process's log goes to a pipe, with queues that a flood fills within a second."""
    monkeypatch.setattr(LineWriter.__init__, "__kwdefaults__", {"max_lines": 200})
    read, write = os.pipe()
    reader = SlowReader(read)
    with os.fdopen(write, "w") as stream, logging_to(stream):
        yield reader
    os.close(read)


async def test_a_flood_by_strangers_costs_no_honest_audit_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written first, whatever waits; of the flood a few lines per second are kept and the rest is summed."""
    config = config_of(auth={"anonymous_tenant": None}, tenants=[tenant("kyc", holder_of(TOKEN))])
    with unread_log(monkeypatch) as reader:
        async with (
            running(config, upstream=FakeUpstream()) as gateway,
            grpc.aio.insecure_channel(gateway.address) as channel,
        ):
            stub: Any = FaceSearchServiceStub(channel)
            evil: Any = channel.unary_unary("/evil/SearchFace")

            async def flood() -> None:
                for _ in range(STRANGERS // 50):
                    await asyncio.gather(*(refusal(evil(b"")) for _ in range(50)))

            flooding = asyncio.create_task(flood())
            request = pb.SearchFaceRequest(face_set="employees", image=pb.Image(content=jpeg()))
            for _ in range(HONEST):
                await stub.SearchFace(request, metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=10)
            await flooding
            page = values(await metrics_page(gateway.ops_address))
            reader.go()
    found = reader.end()
    assert sum(line["event"] == "audit.search" for line in found) == HONEST
    assert page['facegate_log_lines_lost_total{queue="audit"}'] == 0
    assert page['facegate_refusals_total{kind="unknown_method"}'] == STRANGERS
    in_full = [line for line in found if line["event"] == "audit.refused"]
    sums = [line for line in found if line["event"] == "audit.refusals"]
    assert sum(line["left_out"] for line in sums) == STRANGERS - len(in_full)
    seconds = {line["time"][:19] for line in found}
    assert len(in_full) <= STRANGER_LINES * (len(seconds) + 1)
