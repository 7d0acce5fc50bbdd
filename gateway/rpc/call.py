"""One RPC, from its headers on: what the frame, the guards and the servicers hand along."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from google.protobuf.message import Message
from grpc.aio import ServicerContext

from gateway.auth.authenticator import PeerCertificate
from gateway.model import Principal, Tenant
from gateway.quota.admission import Admission
from gateway.rpc.held import Held
from gateway.telemetry.record import CallRecord

Context = ServicerContext[bytes, Message]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Ids have to be unique, not secret.
_random = random.Random()  # noqa: S311


@dataclass(slots=True, eq=False)
class Call:
    """One call: its headers, and what was found out about it since.

    `authorization` holds every value of that metadata key; `deadline` is monotonic. `principal` is None until the caller
    is authenticated, `held` until the call has a place, `admission` until a search was admitted by its tenant's limits.
    `generation` is that of the credentials in force when it was. `counted` says that the call is a search that the ledger counts when it ends.
    """

    method: str
    authorization: tuple[str, ...]
    traceparent: str
    record: CallRecord
    context: Context
    deadline: float = 0.0
    principal: Principal | None = None
    peer: PeerCertificate | None = None
    generation: int = 0
    held: Held | None = None
    admission: Admission | None = None
    message: bytes | None = None
    counted: bool = False

    def take_message(self) -> bytes:
        """The raw request message. It is given away, so that it does not stay in memory for the rest of the call."""
        raw, self.message = self.message, None
        assert raw is not None
        return raw

    @property
    def tenant(self) -> Tenant:
        """The tenant of an authenticated call."""
        assert self.principal is not None
        return self.principal.tenant

    @property
    def request_id(self) -> str:
        """The id that the caller sent, if it is well-formed, else a fresh one."""
        return self.record.request_id


def call_from_headers(method: str, context: Context, now: float, default_seconds: float) -> Call:
    """Reads what the gateway needs of a call's headers, once. `now` is monotonic.

    `default_seconds` is the deadline of a call that comes without one.
    """
    authorization: tuple[str, ...] = ()
    request_id = traceparent = ""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            authorization += (str(value),)
        elif key == "x-request-id":
            request_id = str(value)
        elif key == "traceparent":
            traceparent = str(value)
    if not (request_id and _REQUEST_ID.fullmatch(request_id)):
        request_id = f"{_random.getrandbits(128):032x}"
    # None without a deadline, whatever the stubs say.
    remaining: float | None = context.time_remaining()
    deadline = now + (default_seconds if remaining is None else remaining)
    return Call(method, authorization, traceparent, CallRecord(method, request_id, now), context, deadline)
