"""Places and bytes: shared between tenants, kept apart for the vendor, and given back by the last holder."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.errors import GatewayOverloaded
from gateway.model import Principal, Tenant
from gateway.rpc.bodies import MAX_BODY_BYTES
from gateway.rpc.call import Call, Context, call_from_headers
from gateway.rpc.guards.capacity import Capacity
from gateway.rpc.held import Held
from gateway.rpc.room import Room
from tests.support.call_context import CallContext


def a_call(tenant: str = "a") -> Call:
    call = call_from_headers("/a.Service/Method", cast("Context", CallContext()), 0.0, 15.0)
    call.principal = Principal(Tenant(tenant), "token")
    return call


def placed(capacity: Capacity, tenant: str = "a") -> Held:
    call = a_call(tenant)
    assert capacity.on_headers(call)
    assert call.held is not None
    return call.held


def test_calls_beyond_the_limit_are_refused_on_their_headers() -> None:
    capacity = Capacity(2, Room(10 * MAX_BODY_BYTES, MAX_BODY_BYTES))
    placed(capacity)
    placed(capacity)
    with pytest.raises(GatewayOverloaded):
        capacity.on_headers(a_call())


def test_calls_that_wait_for_the_vendor_leave_their_places_to_others() -> None:
    """A vendor that hangs must not keep cached answers from anybody."""
    capacity = Capacity(2, Room(10 * MAX_BODY_BYTES, MAX_BODY_BYTES))
    for _ in range(2):
        placed(capacity).wait_for_vendor()
    third = placed(capacity)
    with pytest.raises(GatewayOverloaded):
        third.wait_for_vendor()


def test_a_call_that_waits_for_the_vendor_twice_counts_once() -> None:
    capacity = Capacity(2, Room(10 * MAX_BODY_BYTES, MAX_BODY_BYTES))
    held = placed(capacity)
    held.wait_for_vendor()
    held.wait_for_vendor()
    held.give_back()
    assert capacity.calls == 0


def test_a_search_upstream_keeps_place_and_bytes_after_its_caller_has_gone() -> None:
    room = Room(8 * MAX_BODY_BYTES, MAX_BODY_BYTES)
    capacity = Capacity(4, room)
    call = a_call()
    capacity.on_headers(call)
    held = call.held
    assert held is not None
    held.size = 100
    room.take("a", 100)
    held.wait_for_vendor()
    held.keep()
    capacity.on_end(call)
    assert (capacity.calls, room.taken) == (1, 100)
    held.give_back()
    assert (capacity.calls, room.taken) == (0, 0)
