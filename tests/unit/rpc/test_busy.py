"""The loop is busy once its thread has had something to do for more than half of the time, on average."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rpc import busy
from gateway.rpc.busy import AVERAGED_SECONDS, BusyLoop, runnable_seconds


class Thread:
    """A thread that has something to do for a share of the time."""

    def __init__(self) -> None:
        self.now = self.used = 100.0
        self.loop = BusyLoop(lambda: self.used)
        self.loop(self.now)

    def spends(self, seconds: float, share: float) -> bool:
        """Whether the loop is busy at the end of these seconds."""
        answer = False
        for _ in range(round(seconds / 0.1)):
            self.now += 0.1
            self.used += 0.1 * share
            answer = self.loop(self.now)
        return answer


@pytest.mark.parametrize(("share", "is_busy"), [(0.0, False), (0.45, False), (0.55, True), (1.0, True)])
def test_a_steady_share_decides(share: float, is_busy: bool) -> None:
    assert Thread().spends(10 * AVERAGED_SECONDS, share) is is_busy


def test_a_short_burst_is_no_load() -> None:
    thread = Thread()
    thread.spends(5, 0.1)
    assert not thread.spends(0.2, 1.0)
    assert thread.spends(0.6, 1.0)
    assert not thread.spends(1.0, 0.0)


def test_a_long_time_without_a_question_counts_as_one() -> None:
    thread = Thread()
    thread.spends(5, 1.0)
    thread.now += 60
    assert not thread.loop(thread.now)


def test_the_kernel_s_account_grows_with_work_and_is_not_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = runnable_seconds()
    sum(range(300_000))
    assert runnable_seconds() > before
    (tmp_path / "odd").write_text("no numbers here")
    for place in (tmp_path / "missing", tmp_path / "odd"):
        monkeypatch.setattr(busy, "_SCHEDULER", place)
        assert 0 < runnable_seconds() < 1e6
