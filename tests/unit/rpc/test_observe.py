"""Calls that go on together are all answered before the first answer is sent; one that waits can still be cancelled."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from google.protobuf.empty_pb2 import Empty

from gateway.rpc.bursts import MEASURED_CALLS, MOST_TOGETHER, Bursts
from gateway.rpc.call import Call, Context, call_from_headers
from gateway.rpc.interceptors.answer_errors import AnswerErrors
from gateway.rpc.interceptors.observe import Observe
from gateway.telemetry.calls import Calls
from gateway.telemetry.record import CallRecord
from tests.support.clock import ManualClock


class Stage:
    """An observer over a process that is busy or not; `happened` lists what it saw in order."""

    def __init__(self, share: float) -> None:
        self.clock = ManualClock()
        self.used = 0.0
        self.share = share
        self.happened: list[str] = []
        bursts = Bursts(lambda: self.used)
        self._observe = Observe(cast("Calls", self), AnswerErrors(self.clock), bursts, self.clock, 10.0).wrap(
            self._proceed
        )

    def ended(self, record: CallRecord, traceparent: str) -> None:
        assert record.code in {"", "CANCELLED"}

    async def _proceed(self, call: Call, raw: bytes) -> Empty:
        self.happened.append("answered")
        return Empty()

    async def call(self) -> None:
        self.clock.advance(0.0001)
        self.used += 0.0001 * self.share
        context = cast("Context", self)
        await self._observe(call_from_headers("/a.Service/Method", (), self.clock.monotonic()), b"", context)

    def time_remaining(self) -> None:
        """As of a call without a deadline."""

    def set_trailing_metadata(self, trailers: Any) -> None:
        self.happened.append("sent")

    async def warm(self) -> None:
        for _ in range(2 * MEASURED_CALLS):
            await self.call()
        self.clock.advance(1.0)
        self.used += 1.0 * self.share
        self.happened.clear()


async def test_a_busy_gateway_answers_all_before_it_sends_the_first() -> None:
    stage = Stage(share=1.0)
    await stage.warm()
    await asyncio.gather(*(stage.call() for _ in range(MOST_TOGETHER)))
    assert stage.happened == ["answered"] * MOST_TOGETHER + ["sent"] * MOST_TOGETHER


async def test_an_idle_gateway_sends_each_answer_at_once() -> None:
    stage = Stage(share=0.1)
    await stage.warm()
    await asyncio.gather(*(stage.call() for _ in range(MOST_TOGETHER)))
    assert stage.happened == ["answered", "sent"] * MOST_TOGETHER


async def test_a_call_that_is_cancelled_while_it_waits_is_not_answered() -> None:
    stage = Stage(share=1.0)
    await stage.warm()
    calls = [asyncio.ensure_future(stage.call()) for _ in range(MOST_TOGETHER - 1)]
    await asyncio.sleep(0)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    await asyncio.gather(*calls[1:])
    assert stage.happened.count("answered") == MOST_TOGETHER - 2
