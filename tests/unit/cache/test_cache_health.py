"""One log line at each change of a store's state, however often it is felt."""

from __future__ import annotations

import structlog

from gateway.cache.health import Cause, FaultLog, Health
from tests.support.clock import ManualClock


def test_out_and_back_are_one_line_each() -> None:
    """A thousand failures and a thousand answers; the second line says how long it was out."""
    clock = ManualClock()
    health = Health(clock)
    with structlog.testing.capture_logs() as logs:
        assert [health.failed(Cause.TIMEOUT) for _ in range(1000)] == [True] + [False] * 999
        clock.advance(12.5)
        for _ in range(1000):
            health.answered()
    assert logs == [
        {"event": "cache.store_out", "cause": "timeout", "log_level": "warning"},
        {"event": "cache.store_back", "out_seconds": 12.5, "log_level": "info"},
    ]
    assert health.since == clock.now()


def test_a_full_store_is_tried_once_a_second_and_said_once() -> None:
    """It takes a write now and then as values die; only half a minute without a refusal counts as recovered."""
    clock = ManualClock()
    health = Health(clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            health.write_refused()
            tried = []
            for passed in (0.0, 0.999, 0.001):
                clock.advance(passed)
                tried.append(health.may_write)
            assert tried == [False, False, True]
            health.wrote()
        clock.advance(29)
        health.wrote()
        health.wrote()
    assert [line["event"] for line in logs] == ["cache.store_refuses_writes", "cache.store_takes_writes"]


def test_refused_values_are_all_counted_and_logged_once_a_minute() -> None:
    """Whoever fills the store with rubbish does not fill the log."""
    clock = ManualClock()
    faults = FaultLog(clock)
    with structlog.testing.capture_logs() as logs:
        for _ in range(120):
            faults.note("forged")
            clock.advance(1)
    assert faults.counts == {"forged": 120}
    assert len(logs) == 2
