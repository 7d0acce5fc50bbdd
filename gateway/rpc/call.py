"""One RPC, from its headers on: what the interceptors and the servicer hand along."""

from __future__ import annotations

import random
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from gateway.errors import Cancelled
from gateway.model import Principal, Tenant
from gateway.telemetry.record import CallRecord

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Ids have to be unique, not secret.
_random = random.Random()  # noqa: S311


@dataclass(slots=True, eq=False, weakref_slot=True)
class Call:
    """The headers of a call and what was found out about it.

    `authorization` holds every value of that metadata key; `deadline` is monotonic. `principal` is None until the caller
    is authenticated.
    """

    method: str
    authorization: tuple[str, ...]
    traceparent: str
    record: CallRecord
    deadline: float = 0.0
    principal: Principal | None = None

    @property
    def tenant(self) -> Tenant:
        """The tenant of an authenticated call."""
        assert self.principal is not None
        return self.principal.tenant

    @property
    def request_id(self) -> str:
        """The id that the caller sent, if it is well-formed, else a fresh one."""
        return self.record.request_id


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
    if not _REQUEST_ID.fullmatch(request_id):
        request_id = f"{_random.getrandbits(128):032x}"
    return Call(method, authorization, traceparent, CallRecord(method, request_id, now))


class Body:
    """A call's request message: already here, or still to be read.

    gRPC runs a unary handler only after the whole message has arrived. A call that has to wait for something first is
    answered by a streaming handler instead (the same bytes on the wire), whose message is read when it is asked for.
    """

    __slots__ = ("_messages", "raw")

    def __init__(self, raw: bytes | None = None, messages: AsyncIterator[bytes] | None = None) -> None:
        self.raw = raw
        """The message, once it is in memory."""
        self._messages = messages

    @property
    def size(self) -> int:
        """Bytes of the message; 0 until it has arrived."""
        return len(self.raw) if self.raw is not None else 0

    async def read(self) -> bytes:
        """The raw message. Raises `Cancelled` if the caller closes the stream without sending one."""
        if self.raw is None:
            assert self._messages is not None
            async for raw in self._messages:
                self.raw = raw
                break
            else:
                raise Cancelled
        return self.raw
