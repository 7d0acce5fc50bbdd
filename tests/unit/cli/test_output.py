"""Tables: what fits a terminal of 80 columns, and what is never folded."""

from __future__ import annotations

import re

import pytest

from gateway.cli.output import Bar, Cell, print_table

PERSON, FACE = "9223372036854775807", "435449455488008194"
SEARCH = ("image", "person", "face", "score", "enrolled", "cache")
USAGE = ("day", "", "searches", "cache hits", "quota rejections", "failures", "upstream calls", "charged units")


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without what makes it bold."""
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Output as on a terminal of 80 columns without colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return monkeypatch


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
def test_an_id_is_never_folded(columns: int, terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the width, and however long the file's name: half an id cannot be copied."""
    terminal.setenv("COLUMNS", str(columns))
    row = ("portrait-" * 12 + ".jpg", PERSON, FACE, "0.985", "2026-11-30", "coalesced")
    print_table(SEARCH, [row], numbers=("score",), names=("image",))
    out = printed(capsys)
    assert PERSON in out
    assert FACE in out
    assert "coalesced" in out
    assert "2026-11-30" in out


def test_a_search_fits_80_columns(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per match, with the longest ids that there are."""
    row = ("astronaut.jpg", PERSON, FACE, "0.985", "2026-11-30", "miss")
    print_table(SEARCH, [row, row], numbers=("score",), names=("image",))
    lines = printed(capsys).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("astronaut.jpg" in line and PERSON in line and FACE in line for line in lines) == 2


def test_a_long_name_gives_way(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It is folded, all of it is there, and the row stays one of a table."""
    name = "".join(chr(ord("a") + n % 26) for n in range(70))
    print_table(SEARCH, [(name, PERSON, FACE, "0.985", "2026-11-30", "miss")], numbers=("score",), names=("image",))
    lines = printed(capsys).splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if PERSON in line]
    assert FACE in row
    assert "".join(line.split(" ")[0] for line in lines[lines.index(row) :]) == name


@pytest.mark.parametrize("number", ["7", "1234567", "123456789"])
def test_a_month_of_usage_fits_80_columns(
    number: str, terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six numbers are whole; the bar gives way to them."""
    row: tuple[Cell, ...] = ("2026-11-30", Bar(1, 2), *[number] * 6)
    print_table(USAGE, [row], numbers=USAGE[2:])
    out = printed(capsys)
    assert max(map(len, out.splitlines())) <= 80
    assert out.count(number) == 6
    assert ("█" in out) is (number != "123456789")


def test_a_terminal_that_is_too_narrow_gets_lists(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line per cell, and none for what is empty."""
    terminal.setenv("COLUMNS", "40")
    print_table(SEARCH, [("a.jpg", PERSON, FACE, "0.985", "", "miss"), ("b.jpg", "no match", "", "", "", "hit")])
    assert printed(capsys) == (
        f"image: a.jpg\nperson: {PERSON}\nface: {FACE}\nscore: 0.985\ncache: miss\n\n"
        "image: b.jpg\nperson: no match\ncache: hit\n"
    )


def test_off_a_terminal_nothing_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    """A row is a line, however long."""
    name = "x" * 300
    print_table(("image", "person"), [(name, PERSON)], names=("image",))
    heading, row = printed(capsys).splitlines()
    assert heading.split() == ["image", "person"]
    assert row.split() == [name, PERSON]
