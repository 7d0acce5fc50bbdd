"""Capacity is kept on headers, and comes back even from callers that vanish without a trace."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayOverloaded
from gateway.rpc.call import Call, call_from_headers
from gateway.rpc.interceptors.admit import MAX_BODY_BYTES, Admit
from tests.support.clock import ManualClock


def a_call() -> Call:
    return call_from_headers("/a.Service/Method", (), 0.0)


def test_headers_without_a_body_count_until_they_are_forgotten() -> None:
    """A caller that stays and never sends its body gives its place back after ten seconds."""
    clock = ManualClock()
    admit = Admit(2, 100 * MAX_BODY_BYTES, clock)
    lost = [a_call(), a_call()]
    assert [admit.on_headers(call) for call in lost] == [True, True]
    with pytest.raises(GatewayOverloaded):
        admit.on_headers(a_call())
    clock.advance(10.0)
    assert admit.on_headers(a_call())


def test_a_caller_that_goes_before_its_body_came_gives_its_place_back_at_once() -> None:
    """gRPC tells nobody, but lets go of the call: else a few resets a second would keep everybody out."""
    admit = Admit(2, 100 * MAX_BODY_BYTES, ManualClock())
    for _ in range(10):
        assert admit.on_headers(a_call())


def test_a_body_waits_unread_when_it_might_not_fit() -> None:
    """As long as nothing is known of sizes, every body is taken for the largest."""
    admit = Admit(256, 2 * MAX_BODY_BYTES, ManualClock())
    calls = [a_call() for _ in range(3)]
    assert [admit.on_headers(call) for call in calls] == [True, True, False]


def test_a_draining_gateway_takes_nothing() -> None:
    """What comes between the end of the lame duck and the closed port gets a proper error."""
    admit = Admit(256, MAX_BODY_BYTES, ManualClock())
    admit.drain()
    with pytest.raises(GatewayOverloaded):
        admit.on_headers(a_call())
