"""What gRPC hands to a handler, without gRPC: headers, one message, and what the handler did with the call."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc import StatusCode
from grpc.aio import EOF, AbortError


class CallContext:
    """`message` None: it never arrives. `remaining` is the caller's deadline in seconds, None for none."""

    def __init__(
        self, *metadata: tuple[str, str], message: bytes | None = b"", remaining: float | None = None, eof: bool = False
    ) -> None:
        self._metadata = metadata
        self._message = message
        self._remaining = remaining
        self._eof = eof
        self.reads = 0
        self.code: StatusCode | None = None
        self.trailers: Any = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def time_remaining(self) -> float | None:
        return self._remaining

    async def read(self) -> Any:
        self.reads += 1
        if self._eof:
            return EOF
        if self._message is None:
            await asyncio.get_running_loop().create_future()
        return self._message

    def set_trailing_metadata(self, trailers: Any) -> None:
        self.trailers = trailers

    async def abort(self, code: StatusCode, message: str, trailers: Any = ()) -> None:
        self.code, self.trailers = code, trailers
        raise AbortError
