"""The arithmetic of quotas: windows, rates, shares, and how URLs of stores are read."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Limits, RateLimit, Window
from gateway.quota.gcra import CALL, MAX_BURST, flow_of, level_after, share_of, wait_us
from gateway.quota.known import Known
from gateway.quota.link import link_to
from gateway.quota.share import TenantShare
from gateway.quota.standing import Standing
from gateway.quota.store import Charge, Count, Reserved
from gateway.quota.windows import DAY, HOUR, MINUTE, longest_wait, true_end, window_end, window_start

MOMENTS = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them naive


@given(MOMENTS)
def test_a_month_ends_where_the_calendar_says(moment: datetime) -> None:
    """As the standard library counts days, for every moment."""
    now_us = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    days = calendar.monthrange(moment.year, moment.month)[1]
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = int((first + timedelta(days=days)).timestamp()) * 1_000_000
    assert window_end(Window.MONTH, now_us) == end
    assert window_start(Window.MONTH, end) == int(first.timestamp()) * 1_000_000


@pytest.mark.parametrize(("window", "length"), [(Window.MINUTE, MINUTE), (Window.HOUR, HOUR), (Window.DAY, DAY)])
def test_a_windows_end_belongs_to_the_next(window: Window, length: int) -> None:
    """Windows are half open: [start, end)."""
    end = window_end(window, 0)
    assert end == length
    assert window_end(window, end - 1) == end
    assert window_end(window, end) == 2 * length
    assert window_start(window, end) == 0


@given(st.floats(min_value=0.001, max_value=1_000_000), st.integers(1, MAX_BURST))
def test_no_number_of_a_rate_leaves_what_a_double_holds(per_second: float, burst: int) -> None:
    """Lua computes with doubles: a full bucket is below 2^53."""
    flow = flow_of(RateLimit(per_second, burst))
    assert flow.capacity + CALL < 2**53


@given(st.integers(1, 10**6), st.integers(1, 1000), st.integers(0, 10**12))
def test_a_wait_is_the_least_that_suffices(drain: int, burst: int, level: int) -> None:
    """After the wait a call fits, and a microsecond before it does not."""
    flow = flow_of(RateLimit(drain / 1000, burst))
    level = min(level, flow.capacity)
    wait = wait_us(level, flow)
    assert wait_us(level_after(level, wait, flow), flow) == 0
    if wait:
        assert wait_us(level_after(level, wait - 1, flow), flow) > 0


def test_time_that_goes_back_drains_nothing() -> None:
    """A clock set back neither fills nor empties a bucket."""
    assert level_after(5 * CALL, -1, flow_of(RateLimit(1, 9))) == 5 * CALL


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 7))
def test_shares_together_never_exceed_what_was_left(limit: int, used: int, replicas: int) -> None:
    """However the limit divides, all replicas together spend at most what was left when they looked."""
    limits = Limits(upstream_calls={Window.DAY: limit})
    spent = 0
    for _ in range(replicas):
        share = TenantShare(replicas)
        share.looked(limits, (Count(used, DAY),))
        while not share.spend(limits, 0)[0]:
            spent += 1
    assert spent <= max(0, limit - used)
    assert spent > max(0, limit - used) - replicas


def test_a_share_refuses_all_windows_or_none() -> None:
    """A window without room keeps the others from being spent, and a refund gives every one back."""
    limits = Limits(upstream_calls={Window.MINUTE: 1, Window.DAY: 3})
    share = TenantShare(1)
    assert share.spend(limits, 0)[0] == ""
    assert share.spend(limits, 0) == ("upstream_calls_per_minute", MINUTE, {})
    _, _, ends = share.spend(limits, MINUTE)
    share.give_back(ends)
    assert share.spend(limits, MINUTE)[0] == ""
    assert share.left(limits, MINUTE)[Window.DAY] == Count(2, DAY)


def test_a_window_that_begins_in_an_outage_is_shared_as_a_whole() -> None:
    """What was left of the one before does not matter; what is divided is the limit."""
    limits = Limits(upstream_calls={Window.MINUTE: 9})
    share = TenantShare(3)
    share.looked(limits, (Count(9, MINUTE),))
    assert share.spend(limits, MINUTE - 1)[0]
    spent = 0
    while not share.spend(limits, MINUTE)[0]:
        spent += 1
    assert spent == 3


def test_time_in_an_outage_is_the_stores() -> None:
    """Carried on by the replica's monotonic clock: its wall clock may be an hour off."""
    standing = Standing(1)
    standing.looked(Limits(), Reserved("", 0, None, 7_000_000, ()), 100.0)
    assert standing.now_us(101.5, 3600.0) == 8_500_000


def test_a_released_slot_is_not_renewed_any_more() -> None:
    """Slots are freed before others are renewed: a renewal that still waits would bring it back for a whole lease."""
    known = Known()
    known.held["call"] = None
    known.renewed = ["call"]
    known.release("call")
    notices = known.take()
    assert (notices.freed, notices.renewed) == (["call"], [])


def test_a_share_of_a_small_burst_is_one_call() -> None:
    """Or a replica would admit nothing at all; what is sustained is divided all the same."""
    assert share_of(RateLimit(3, 1), 3) == (1000, CALL)


@pytest.mark.parametrize(
    "url",
    [
        "http://store:6379/0",
        "valkey://user:hunter2@store:6379/0",
        "valkey://store:6379/zero",
        "valkey://",
        "valkey://one:1,two:2/3",
        "valkey://one,:7000",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_being_repeated(url: str) -> None:
    """The message says what a URL must be; what was in it may be a secret."""
    with pytest.raises(ValueError, match=r"store|cluster") as refusal:
        link_to(url)
    assert "hunter2" not in str(refusal.value)


def test_a_share_is_not_renewed_while_the_store_does_not_know_what_was_spent() -> None:
    """Or a store that comes and goes would have its remainder shared out again and again."""
    limits = Limits(upstream_calls={Window.DAY: 10})
    standing = Standing(1)
    answer = Reserved("", 0, 10, 0, (Count(0, DAY),))
    standing.looked(limits, answer, 0.0)
    _, _, ends = standing.share.spend(limits, 0)
    standing.owed["r"] = Charge("r", ends)
    standing.looked(limits, answer, 0.0)
    assert standing.share.left(limits, 0)[Window.DAY].used == 1
    standing.owed.clear()
    standing.looked(limits, answer, 0.0)
    assert standing.share.left(limits, 0)[Window.DAY].used == 0


def test_a_share_of_a_window_in_the_future_is_one_of_now() -> None:
    """The store was last seen while its clock was ahead, and its time is known better since: the wait is a window's."""
    limits, now = Limits(upstream_calls={Window.DAY: 2}), 20_000 * DAY + HOUR
    share = TenantShare(1)
    share.looked(limits, (Count(2, now - HOUR + 31 * DAY),))
    assert share.spend(limits, now) == ("upstream_calls_per_day", 23 * HOUR, {})
    assert share.left(limits, now)[Window.DAY] == Count(2, now + 23 * HOUR)
    assert share.spend(limits, now + 23 * HOUR)[0] == ""


@given(st.sampled_from(list(Window)), MOMENTS, st.integers(-(40 * 366) * HOUR, 40 * 366 * HOUR))
def test_no_window_ends_later_than_it_can(window: Window, moment: datetime, off: int) -> None:
    """However far ahead the clock was that opened it; and one that holds now, or begins very soon, is left as it is."""
    now = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    stored = window_end(window, now + off)
    end = true_end(window, stored, now)
    if now < stored:
        assert now < end <= now + longest_wait(window)
    if abs(off) <= longest_wait(window) // 25:
        assert end == stored
