"""What stands around every call: guards, message, method, answer or error, trailers, and its report to telemetry.

One coroutine carries a call from its headers to its end. It runs when only the headers are here, so whatever refuses a call
does so before its message is read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.rpc.bodies import Bodies
from gateway.rpc.call import Call, Context, call_from_headers
from gateway.rpc.errors import AnswerErrors
from gateway.rpc.grouping import Bursts
from gateway.rpc.guards import Guard
from gateway.rpc.pacing import PACED, Pace
from gateway.rpc.trailers import trailers_of
from gateway.telemetry.calls import Calls

Method = Callable[[Call], Awaitable[Message]]
"""A servicer's method: takes the call, whose message is here, and gives the response message."""

Handler = Callable[[object, Context], Awaitable[Message]]
"""What gRPC calls for one RPC of the streaming shape. The first argument, its iterator of messages, is not used."""


class Frame:
    """Makes the handlers of RPCs that take one message and give one."""

    def __init__(
        self,
        guards: Sequence[Guard],
        bodies: Bodies,
        errors: AnswerErrors,
        bursts: Bursts,
        calls: Calls,
        *,
        clock: Clock,
        default_deadline_seconds: float,
    ) -> None:
        self._guards = tuple(guards)
        self._pace = Pace()
        self._bodies = bodies
        self._errors = errors
        self._bursts = bursts
        self._calls = calls
        self._clock = clock
        self._default_deadline_seconds = default_deadline_seconds
        self.open_calls = 0
        """Calls between their headers and their end, whatever becomes of them."""

    def around(self, path: str, method: Method) -> Handler:
        """The handler of the RPC `path`. Nothing that `method` raises gets past it as it is."""
        return partial(self._handle, path, method)

    async def _handle(self, path: str, method: Method, _: object, context: Context) -> Message:
        monotonic, guards = self._clock.monotonic, self._guards
        call = call_from_headers(path, context, monotonic(), self._default_deadline_seconds)
        record = call.record
        self.open_calls += 1
        kept_until, is_read = 0.0, False
        try:
            for guard in guards:
                if not guard.on_headers(call):
                    await guard.wait(call)
            size = await self._bodies.read(call)
            is_read = True
            for guard in guards:
                guard.on_message(call)
            now = monotonic()
            self._pace.let_through(record.tenant, time.monotonic())
            turn = self._bursts.join(now, size)
            if turn is not None:
                await turn
            response = await method(call)
            if turn is not None:
                # Calls that go on together are all answered before the first answer is sent.
                await asyncio.sleep(0)
            record.finish(monotonic())
            context.set_trailing_metadata(trailers_of(record))
        except BaseException as error:  # noqa: BLE001 - the wall behind which no exception's text gets
            kept_until = 0.0 if is_read else self._kept_until(error, record.tenant)
            raise await self._answer(error, call, kept_until) from None
        else:
            return response
        finally:
            self.open_calls -= 1
            for guard in guards:
                guard.on_end(call)
            if call.principal is not None:
                record.principal = call.principal.method
            self._calls.ended(record, call.traceparent)
            await self._pace.wait_until(kept_until)

    def _kept_until(self, error: BaseException, tenant: str) -> float:
        """The monotonic time up to which a call that ends in `error` keeps its stream; 0: no longer than it takes."""
        now = time.monotonic()
        if isinstance(error, PACED):
            seconds = self._pace.of_refused(tenant, now)
        elif isinstance(error, asyncio.CancelledError):
            seconds = self._pace.of_given_up(tenant, now)
        else:
            return 0.0
        return now + seconds if seconds else 0.0

    async def _answer(self, error: BaseException, call: Call, kept_until: float) -> BaseException:
        """Ends a call that raised `error`; returns what its handler has to raise instead."""
        if kept_until and not isinstance(error, asyncio.CancelledError):
            try:
                await self._pace.wait_until(kept_until)
            except asyncio.CancelledError as cancelled:
                error = cancelled
        return await self._errors.answer(error, call)

    def refusing(self, path: str, refusal: Callable[[], Exception], *, known: bool) -> Handler:
        """The handler of an RPC that is refused unread, whoever calls.

        A `known` RPC is refused only after the first guard, which authenticates: a stranger learns nothing from it.
        """
        return partial(self._refuse, path, refusal, self._guards[:1] if known else ())

    async def _refuse(
        self, path: str, refusal: Callable[[], Exception], guards: Sequence[Guard], _: object, context: Context
    ) -> Message:
        call = call_from_headers(path, context, self._clock.monotonic(), self._default_deadline_seconds)
        kept_until = 0.0
        try:
            for guard in guards:
                if not guard.on_headers(call):
                    await guard.wait(call)
            raise refusal()
        except BaseException as error:  # noqa: BLE001 - as above
            kept_until = self._kept_until(error, call.record.tenant)
            raise await self._answer(error, call, kept_until) from None
        finally:
            self._calls.ended(call.record, call.traceparent)
            await self._pace.wait_until(kept_until)
