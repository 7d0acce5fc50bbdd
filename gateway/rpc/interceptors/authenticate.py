"""Who is calling, and may they call this method? Decided on headers, before the body is read."""

from __future__ import annotations

from google.protobuf.message import Message

from gateway.auth.authenticator import Authenticator, PeerCertificate
from gateway.auth.authorizer import require
from gateway.clock import Clock
from gateway.model import Principal
from gateway.rpc.call import Body, Call, Context
from gateway.rpc.interceptors import Ready, Waiting
from gateway.rpc.policy import POLICY


class Authenticate:
    """Before everything that costs, so that a stranger costs nothing."""

    def __init__(self, authenticator: Authenticator, clock: Clock, *, certificates: bool) -> None:
        """`certificates`: whether callers show them on this listener."""
        self._authenticator = authenticator
        self._clock = clock
        self._certificates = certificates

    def on_headers(self, call: Call) -> bool:
        """False if headers do not tell: a certificate has to be looked at, or keys have to be fetched."""
        if self._certificates and self._authenticator.needs_peer:
            return False
        started = self._clock.monotonic()
        call.principal = self._authenticator.known(call.authorization) or self._at_once(call)
        if call.principal is None:
            return False
        call.record.spent("auth", started, self._clock.monotonic())
        self._permit(call)
        return True

    def _at_once(self, call: Call) -> Principal | None:
        """The principal, if `authenticate` needs no wait: then its first step is the whole coroutine."""
        attempt = self._authenticator.authenticate(call.authorization, None)
        try:
            attempt.send(None)
        except StopIteration as done:
            principal: Principal = done.value
            return principal
        attempt.close()
        return None

    def wrap(self, proceed: Waiting) -> Waiting:
        """Authenticates the call, unless its headers were enough."""

        async def authenticate(call: Call, body: Body) -> Message:
            if call.principal is None:
                started = self._clock.monotonic()
                peer = _peer(body.context)
                call.principal = await self._authenticator.authenticate(call.authorization, peer)
                call.record.spent("auth", started, self._clock.monotonic())
                self._permit(call)
            return await proceed(call, body)

        return authenticate

    def wrap_ready(self, proceed: Ready) -> Ready:
        """Nothing is left to do: the headers were enough."""
        return proceed

    def _permit(self, call: Call) -> None:
        assert call.principal is not None
        call.record.tenant = call.principal.tenant.id
        require(call.principal, POLICY[call.method])


def _peer(context: Context) -> PeerCertificate | None:
    pem = next(iter(context.auth_context().get("x509_pem_cert", ())), None)
    return PeerCertificate(pem=pem) if pem else None
