"""What the banner of the status page says, and since when."""

from __future__ import annotations

import pytest

from gateway.ops.troubles import VENDOR, Cause, Troubles, causes_of
from gateway.telemetry.history import Moment
from tests.support.clock import ManualClock

STORES = {"quota": True, "cache": True}


def minute(
    answered: int = 0, statuses: dict[str, int] | None = None, more: dict[str, int] | None = None, **reasons: int
) -> Moment:
    """A minute with searches that the vendor answered, and failures by reason."""
    reasons |= more or {}
    moment = Moment(60.0, calls=answered + sum(reasons.values()), asked=answered, statuses=statuses or {})
    moment.latency["vendor"][5] = float(answered)
    moment.ends = {("kyc", reason): count for reason, count in reasons.items()}
    return moment


def texts(moment: Moment) -> list[str]:
    return [cause.text for cause in causes_of(True, (), STORES, moment).values() if cause is not None]


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("UPSTREAM_UNAVAILABLE", "The vendor cannot be reached"),
        ("UPSTREAM_TIMEOUT", "The vendor does not answer in time"),
        ("UPSTREAM_ACCESS_MISCONFIGURED", "The vendor refuses the credentials"),
        ("UPSTREAM_QUOTA_EXHAUSTED", "The account with the vendor is used up"),
        ("UPSTREAM_RATE_LIMITED", "The vendor throttles the gateway"),
    ],
)
def test_a_vendor_that_fails_is_named_with_its_fault(reason: str, text: str) -> None:
    """And with what came back, if anything did: a gateway whose credentials are refused may ask no more."""
    (found,) = texts(minute(3, {"timeout": 2}, more={reason: 7}))
    assert found.startswith(f"{text}")
    assert "(timeout): 7 searches failed" in found
    assert texts(minute(more={reason: 1}))


def test_now_and_then_is_no_outage() -> None:
    """Nor is what callers do themselves."""
    assert texts(minute(8, UPSTREAM_ERROR=1)) == []
    assert texts(minute(0, TENANT_RATE_LIMITED=50, FACE_SET_UNUSABLE=3)) == []


def test_what_else_is_wrong_is_said_once_each() -> None:
    """A store that is out is a problem of readiness too, and is not shown twice."""
    found = causes_of(
        False, ("quota store: out", "collector: does not take traces"), STORES | {"quota": False}, minute()
    )
    assert [cause.text.partition(":")[0] for cause in found.values() if cause is not None] == [
        "Not ready",
        "The quota store is out",
        "collector",
    ]


def test_since_when_is_kept_while_it_lasts_and_the_worst_is_first() -> None:
    """An outage that no search meets any more is not over: only an answer of the vendor ends it."""
    clock = ManualClock()
    troubles = Troubles(clock)
    began = clock.now()
    store = {"cache": Cause("warn", "out")}
    troubles.look(store)
    clock.advance(10)
    troubles.look(store | {VENDOR: Cause("bad", "down", 5.0)})
    clock.advance(100)
    troubles.look(store | {VENDOR: Cause("bad", "still down", 5.0)})
    troubles.look(store | causes_of(True, (), STORES, minute()))
    assert troubles.rows() == [
        {"level": "bad", "text": "still down", "since": began + 5},
        {"level": "warn", "text": "out", "since": began},
    ]
    troubles.look(causes_of(True, (), STORES, minute(1)))
    assert troubles.rows() == []
