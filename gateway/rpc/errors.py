"""Turns whatever a call raises into the error table's answer. No exception's text gets past here."""

from __future__ import annotations

import asyncio
import traceback

import structlog
from grpc import StatusCode
from grpc.aio import AbortError

from gateway.clock import Clock
from gateway.errors import Cancelled, GatewayError, QuotaExceeded
from gateway.model import CacheStatus
from gateway.rpc.call import Call
from gateway.rpc.status import status_of
from gateway.rpc.trailers import trailers_of

log = structlog.get_logger(__name__)


class AnswerErrors:
    """Called by the frame, so that telemetry sees each call's final code and reason."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def answer(self, error: BaseException, call: Call) -> BaseException:
        """Ends a call that raised `error` inside; returns what the handler has to raise instead."""
        if isinstance(error, GatewayError):
            return await self._abort(error, call)
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                _note(Cancelled(), StatusCode.CANCELLED, call)
                call.record.finish(self._clock.monotonic())
                return error
            # Something inside was cancelled, not this call: without an answer the caller would hang.
            log.error("rpc.stray_cancellation", request_id=call.request_id, method=call.method)
        elif isinstance(error, Exception):
            log.error(
                "rpc.unhandled_exception",
                request_id=call.request_id,
                method=call.method,
                exception=type(error).__name__,
                frames=_frames(error),
            )
        else:
            # The process is about to end.
            return error
        return await self._abort(GatewayError(), call)

    async def _abort(self, error: GatewayError, call: Call) -> BaseException:
        """Ends the call; returns what the handler has to raise for gRPC to believe it."""
        answer = status_of(error, call.request_id)
        _note(error, answer.code, call)
        call.record.finish(self._clock.monotonic())
        try:
            await call.context.abort(answer.code, answer.message, (*trailers_of(call.record), *answer.trailers))
        except AbortError as abort:
            return abort
        raise AssertionError("abort returned")


def _note(error: GatewayError, code: StatusCode, call: Call) -> None:
    record = call.record
    record.reason = error.reason.value
    record.code = code.name
    record.upstream_status = getattr(error, "upstream_status", record.upstream_status)
    if isinstance(error, QuotaExceeded):
        record.quota_limit, record.quota_remaining = error.limit_id, 0
    # A search that several calls share was one request, which is told of in the line of the call that began it.
    shared = record.cache_status == CacheStatus.COALESCED
    record.upstream_attempts = 0 if shared else getattr(error, "attempts", record.upstream_attempts)


def _frames(error: BaseException) -> list[str]:
    """Where it was raised: module, line and function. Values and messages may hold a caller's data and stay out."""
    return [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-8:]]
