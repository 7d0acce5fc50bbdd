"""Watches every call from outside: its duration, its trailers, and all that telemetry tells of it."""

from __future__ import annotations

from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.rpc.call import Body, Call
from gateway.rpc.interceptors import Context, Handler
from gateway.rpc.trailers import trailers_of
from gateway.telemetry.calls import Calls
from gateway.telemetry.instruments import Counter


class Observe:
    """Outermost: it sees every end of a call, also those that the others make. `faults` counts its own failures."""

    def __init__(self, calls: Calls, clock: Clock, faults: Counter | None = None) -> None:
        self._calls = calls
        self._clock = clock
        self._faults = faults

    def wrap(self, proceed: Handler) -> Handler:
        """Tells of the call however `proceed` ends."""

        async def observe(call: Call, body: Body, context: Context) -> Message:
            record = call.record
            try:
                response = await proceed(call, body, context)
                record.finish(self._clock.monotonic())
                context.set_trailing_metadata(trailers_of(record))
            except BaseException:
                record.finish(self._clock.monotonic())
                raise
            else:
                return response
            finally:
                self._tell(call)

        return observe

    def _tell(self, call: Call) -> None:
        record = call.record
        if call.principal is not None:
            record.principal = call.principal.method
        try:
            self._calls.ended(record, call.traceparent)
        except Exception:  # noqa: BLE001 - whatever it is, it must not fail the call: nothing outside would catch it
            if self._faults is not None:
                self._faults.add(())
