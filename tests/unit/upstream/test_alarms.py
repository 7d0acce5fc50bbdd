"""What an operator must act on is logged at once, and does not become a flood."""

from __future__ import annotations

from structlog.testing import capture_logs

from gateway.upstream.alarms import Alarms
from tests.support.clock import ManualClock


def test_an_alarm_is_logged_once_in_ten_seconds() -> None:
    """The first of each kind is logged; those that follow soon are counted, and the count comes with the next."""
    clock = ManualClock()
    alarms = Alarms(clock)
    with capture_logs() as logs:
        for _ in range(100):
            alarms.sound("upstream.access_refused", "KEY_EXPIRED", "primary")
        alarms.sound("upstream.redirect_refused", "redirect", "primary")
        clock.advance(10)
        alarms.sound("upstream.access_refused", "KEY_EXPIRED", "primary")
    assert [(line["event"], line["left_out"]) for line in logs] == [
        ("upstream.access_refused", 0),
        ("upstream.redirect_refused", 0),
        ("upstream.access_refused", 99),
    ]
    assert logs[0]["credential"] == "primary"
    assert logs[0]["upstream_status"] == "KEY_EXPIRED"
