"""Calls that go on together are all answered before the first answer is sent; one that waits can still be cancelled."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from google.protobuf.empty_pb2 import Empty

from gateway.errors import CredentialsInvalid
from gateway.model import Principal, Tenant
from gateway.rpc.bodies import MAX_BODY_BYTES, Bodies
from gateway.rpc.call import Call, Context
from gateway.rpc.errors import AnswerErrors
from gateway.rpc.frame import Frame
from gateway.rpc.grouping import MEASURED_CALLS, MOST_TOGETHER, Bursts
from gateway.rpc.guards.capacity import Capacity
from gateway.rpc.pacing import BURST, PER_SECOND
from gateway.rpc.room import Room
from gateway.telemetry.calls import Calls
from gateway.telemetry.record import CallRecord
from tests.support.call_context import CallContext
from tests.support.clock import ManualClock


class Known(Capacity):
    """Places for one tenant, whose calls all are."""

    def on_headers(self, call: Call) -> bool:
        call.principal = Principal(Tenant("a"), "token")
        return super().on_headers(call)


class Stage:
    """A frame around a method, in a process that is busy or not; `happened` lists what it did in order."""

    def __init__(self, share: float) -> None:
        self.clock = ManualClock()
        self.used = 0.0
        self.share = share
        self.happened: list[str] = []
        self.ends: list[CallRecord] = []
        room = Room(100 * MAX_BODY_BYTES, MAX_BODY_BYTES)
        self.frame = Frame(
            (Known(100, room),),
            Bodies(room, self.clock),
            AnswerErrors(self.clock),
            Bursts(lambda: self.used),
            cast("Calls", self),
            clock=self.clock,
            default_deadline_seconds=10.0,
        )
        self._handle = self.frame.around("/a.Service/Method", self._proceed)

    def ended(self, record: CallRecord, traceparent: str) -> None:
        self.ends.append(record)

    async def _proceed(self, call: Call) -> Empty:
        self.happened.append("answered")
        return Empty()

    async def call(self) -> None:
        self.clock.advance(0.0001)
        self.used += 0.0001 * self.share
        context = CallContext()
        context.set_trailing_metadata = lambda trailers: self.happened.append("sent")  # type: ignore[method-assign]
        await self._handle(None, cast("Context", context))

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


class Flood(Stage):
    """A frame whose calls are all refused, on the headers or when their message is here, while another tenant is served."""

    def __init__(self, *, on_headers: bool) -> None:
        super().__init__(share=1.0)
        self.on_headers = on_headers
        pace = self.frame._pace
        pace.let_through("another", time.monotonic())
        pace._busy = lambda _: True
        for _ in range(BURST + 10 * PER_SECOND):
            pace.of_refused("", time.monotonic())

        def refuse(call: Call) -> bool:
            raise CredentialsInvalid

        guard: Any = self.frame._guards[0]
        setattr(guard, "on_headers" if on_headers else "on_message", refuse)


@pytest.mark.parametrize("on_headers", [True, False])
async def test_a_call_whose_message_is_here_is_refused_at_once(on_headers: bool) -> None:
    """To slow it down would keep the message in memory, and the place from others."""
    stage = Flood(on_headers=on_headers)
    call = asyncio.ensure_future(stage.call())
    await asyncio.sleep(0.05)
    assert call.done() is not on_headers
    # Its caller gives up, and then the server is stopped.
    while not call.done():
        call.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(call, return_exceptions=True)
    assert len(stage.ends) == 1
