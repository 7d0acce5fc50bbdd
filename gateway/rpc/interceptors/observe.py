"""Watches every call from outside: its duration, its trailers and its one log line."""

from __future__ import annotations

from contextlib import suppress

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.rpc.call import Body, Call
from gateway.rpc.interceptors import Context, Handler
from gateway.rpc.trailers import trailers_of
from gateway.telemetry.calls import CallLog


class Observe:
    """Outermost: it sees every end of a call, also those that the others make."""

    def __init__(self, calls: CallLog, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock

    def wrap(self, proceed: Handler) -> Handler:
        """Writes the call's line however `proceed` ends."""

        async def observe(call: Call, body: Body, context: Context) -> Message:
            try:
                response = await proceed(call, body, context)
                call.record.finish(self._clock.monotonic())
                context.set_trailing_metadata(trailers_of(call.record))
                return response
            finally:
                call.record.finish(self._clock.monotonic())
                # A full disk or a closed pipe must not fail the call, and nothing outside catches what is raised here.
                with suppress(Exception):
                    self._calls.ended(call.record)

        return observe
