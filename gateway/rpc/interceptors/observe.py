"""Watches every call from outside: its deadline and duration, its trailers, and all that telemetry tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.rpc.bursts import Bursts
from gateway.rpc.call import Call, Context
from gateway.rpc.interceptors import B
from gateway.rpc.interceptors.answer_errors import AnswerErrors
from gateway.rpc.trailers import trailers_of
from gateway.telemetry.calls import Calls


class Observe:
    """Outermost: it sees every end of a call, with the status that the caller gets."""

    def __init__(
        self, calls: Calls, errors: AnswerErrors, bursts: Bursts, clock: Clock, default_deadline_seconds: float
    ) -> None:
        self._calls = calls
        self._errors = errors
        self._bursts = bursts
        self._clock = clock
        self._default_deadline = default_deadline_seconds

    def wrap(
        self, proceed: Callable[[Call, B], Awaitable[Message]]
    ) -> Callable[[Call, B, Context], Awaitable[Message]]:
        """Tells of the call however `proceed` ends. Nothing that it raises gets past here as it is."""

        async def observe(call: Call, body: B, context: Context) -> Message:
            record = call.record
            try:
                turn = self._bursts.join(self._clock.monotonic(), len(body) if isinstance(body, bytes) else 0)
                if turn is not None:
                    await turn
                call.take_deadline(context, self._clock.monotonic(), self._default_deadline)
                response = await proceed(call, body)
                if turn is not None:
                    # Those that go on together are all answered before the first answer is sent.
                    await asyncio.sleep(0)
                record.finish(self._clock.monotonic())
                context.set_trailing_metadata(trailers_of(record))
            except BaseException as error:  # noqa: BLE001 - the wall behind which no exception's text gets
                raise await self._errors.answer(error, call, context) from None
            else:
                return response
            finally:
                if call.principal is not None:
                    record.principal = call.principal.method
                self._calls.ended(record, call.traceparent)

        return observe
