"""Watches every call from outside: its duration, its trailers, and all that telemetry tells of it."""

from __future__ import annotations

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.rpc.call import Body, Call
from gateway.rpc.interceptors import Context, Handler
from gateway.rpc.interceptors.answer_errors import AnswerErrors
from gateway.rpc.trailers import trailers_of
from gateway.telemetry.calls import Calls


class Observe:
    """Outermost: it sees every end of a call, with the status that the caller gets."""

    def __init__(self, calls: Calls, errors: AnswerErrors, clock: Clock) -> None:
        self._calls = calls
        self._errors = errors
        self._clock = clock

    def wrap(self, proceed: Handler) -> Handler:
        """Tells of the call however `proceed` ends. Nothing that it raises gets past here as it is."""

        async def observe(call: Call, body: Body, context: Context) -> Message:
            record = call.record
            try:
                response = await proceed(call, body, context)
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
