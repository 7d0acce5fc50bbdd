"""One RPC, from its headers on: what the interceptors and the servicer hand along."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from gateway.errors import Cancelled
from gateway.model import Principal, Tenant
from gateway.telemetry.record import CallRecord

Context = ServicerContext[bytes, Message]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Ids have to be unique, not secret.
_random = random.Random()  # noqa: S311


@dataclass(slots=True, eq=False, weakref_slot=True)
class Call:
    """The headers of a call and what was found out about it.

    `authorization` holds every value of that metadata key; `deadline` is monotonic. `principal` is None until the caller
    is authenticated. `refusal` is why its headers refuse it.
    """

    method: str
    authorization: tuple[str, ...]
    traceparent: str
    record: CallRecord
    deadline: float = 0.0
    principal: Principal | None = None
    refusal: Exception | None = None

    @property
    def tenant(self) -> Tenant:
        """The tenant of an authenticated call."""
        assert self.principal is not None
        return self.principal.tenant

    @property
    def request_id(self) -> str:
        """The id that the caller sent, if it is well-formed, else a fresh one."""
        return self.record.request_id

    def take_deadline(self, context: Context, now: float, default_seconds: float) -> None:
        """Sets the deadline by what gRPC knows of it; `now` is monotonic."""
        # None without a deadline, whatever the stubs say.
        remaining: float | None = context.time_remaining()
        self.deadline = now + (default_seconds if remaining is None else remaining)


def call_from_headers(method: str, metadata: Iterable[tuple[str, str | bytes]], now: float) -> Call:
    """Reads what the gateway needs of a call's metadata, once. `now` is monotonic."""
    authorization: tuple[str, ...] = ()
    request_id = traceparent = ""
    for key, value in metadata:
        if key == "authorization":
            authorization += (str(value),)
        elif key == "x-request-id":
            request_id = str(value)
        elif key == "traceparent":
            traceparent = str(value)
    if not (request_id and _REQUEST_ID.fullmatch(request_id)):
        request_id = f"{_random.getrandbits(128):032x}"
    return Call(method, authorization, traceparent, CallRecord(method, request_id, now))


class Body:
    """A call's request message that is still to be read.

    gRPC runs a unary handler only after the whole message has arrived. A call that has to wait for something first is
    answered by a streaming handler instead (the same bytes on the wire), whose message is read when it is asked for.
    """

    __slots__ = ("_messages", "_raw", "context")

    def __init__(self, messages: AsyncIterator[bytes], context: Context) -> None:
        self._messages = messages
        self._raw: bytes | None = None
        self.context = context

    async def read(self) -> bytes:
        """The raw message. Raises `Cancelled` if the caller closes the stream without sending one."""
        if self._raw is None:
            async for raw in self._messages:
                self._raw = raw
                break
            else:
                raise Cancelled
        return self._raw
