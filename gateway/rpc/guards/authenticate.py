"""Who is calling, and may they call this method? Decided on the headers, before the message is read."""

from __future__ import annotations

from gateway.aio import WouldWait, at_once
from gateway.auth.authenticator import Authenticator, PeerCertificate
from gateway.auth.authorizer import require
from gateway.clock import Clock
from gateway.errors import CredentialsInvalid
from gateway.model import Principal
from gateway.rpc.call import Call, Context
from gateway.rpc.policy import POLICY


class Authenticate:
    """Before everything that costs, so that a stranger costs nothing."""

    def __init__(self, authenticator: Authenticator, clock: Clock, *, certificates: bool) -> None:
        """`certificates`: whether callers show them on this listener."""
        self._authenticator = authenticator
        self._clock = clock
        self._certificates = certificates

    def on_headers(self, call: Call) -> bool:
        """False if an issuer's keys have to be fetched."""
        started = self._clock.monotonic()
        call.generation = self._authenticator.generation
        principal = None
        if self._certificates:
            call.peer = _peer(call.context)
        if not (self._certificates and self._authenticator.needs_peer):
            principal = self._authenticator.known(call.authorization)
        if principal is None:
            try:
                principal = at_once(self._authenticator.authenticate(call.authorization, call.peer))
            except WouldWait:
                return False
        self._proven(call, principal, started)
        return True

    async def wait(self, call: Call) -> None:
        """Authenticates the call, however long it takes."""
        started = self._clock.monotonic()
        principal = await self._authenticator.authenticate(call.authorization, call.peer)
        call.generation = self._authenticator.generation
        self._proven(call, principal, started)

    def on_message(self, call: Call) -> None:
        """Looks the caller up again: its message may have taken minutes, and its credentials may be gone."""
        before = call.principal
        assert before is not None
        now = self._authenticator.current(before, call.generation, call.authorization, call.peer)
        if now is before:
            return
        if now.tenant.id != before.tenant.id:
            # The credential changed hands. What was charged is the former tenant's, so the call cannot go on as the other's.
            raise CredentialsInvalid
        call.principal = now
        require(now, POLICY[call.method])

    def on_end(self, call: Call) -> None:
        """Took nothing."""

    def _proven(self, call: Call, principal: Principal, started: float) -> None:
        call.principal = principal
        call.record.tenant = principal.tenant.id
        call.record.spent("auth", started, self._clock.monotonic())
        require(principal, POLICY[call.method])


def _peer(context: Context) -> PeerCertificate | None:
    shown = context.auth_context()
    pem = next(iter(shown.get("x509_pem_cert", ())), None)
    return PeerCertificate(pem, next(iter(shown.get("x509_pem_cert_chain", ())), b"")) if pem else None
