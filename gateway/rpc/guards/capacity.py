"""Keeps the gateway within its capacity: places for calls, from their headers on, and bytes of their bodies.

Two kinds of places. A call that is being answered holds one of `max_calls`. A call that waits for the vendor gives that
one back and holds one of as many others, so that a slow vendor never keeps cached answers from anybody. Tenants share both
kinds (see `places.py`).
"""

from __future__ import annotations

from gateway.errors import GatewayOverloaded
from gateway.rpc.call import Call
from gateway.rpc.held import Held
from gateway.rpc.places import Places
from gateway.rpc.room import Room
from gateway.telemetry.refusal_kinds import RefusalKind


class Capacity:
    """After authentication, so that only known callers take a place, and before the message is read."""

    def __init__(self, max_calls: int, room: Room) -> None:
        self._room = room
        self._answering = Places(max_calls)
        self._waiting = Places(max_calls)

    @property
    def calls(self) -> int:
        """Calls in flight, and searches upstream whose callers have gone."""
        return self._answering.taken + self._waiting.taken

    def on_headers(self, call: Call) -> bool:
        """Takes a place for the call."""
        tenant = call.tenant.id
        places = self._answering
        if not places.has(tenant):
            if places.held(tenant):
                call.record.refusal = RefusalKind.TENANT_SHARE
            raise GatewayOverloaded(retry_after_seconds=1.0)
        places.take(tenant)
        call.held = Held(self, tenant)
        return True

    async def wait(self, call: Call) -> None:
        """Never needed."""

    def on_message(self, call: Call) -> None:
        """The bytes of the body are counted where it is read (`rpc/bodies.py`)."""

    def on_end(self, call: Call) -> None:
        """The call ends; a search of its that is upstream may keep the place."""
        if call.held is not None:
            call.held.give_back()

    def wait_for_vendor(self, held: Held) -> None:
        """See `Held.wait_for_vendor`."""
        tenant = held.tenant
        if not self._waiting.has(tenant):
            raise GatewayOverloaded(retry_after_seconds=1.0)
        self._waiting.take(tenant)
        self._answering.give_back(tenant)
        held.waits_for_vendor = True

    def leave(self, held: Held) -> None:
        """Takes back a place and the bytes of a body."""
        if held.waits_for_vendor:
            self._waiting.give_back(held.tenant)
        else:
            self._answering.give_back(held.tenant)
        if held.size:
            self._room.give_back(held.tenant, held.size)
