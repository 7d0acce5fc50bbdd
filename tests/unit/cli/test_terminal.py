"""What reaches a terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest

from gateway.cli.terminal import cell, complain, json_line, printable, say


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
def test_control_characters_do_not_pass(code: int) -> None:
    """Neither C0 nor C1, nor marks of writing direction."""
    shown = printable(f"a{chr(code)}b")
    assert shown in ("a b", "a\ufffdb")


@pytest.mark.parametrize("text", ["Zoë 東京 é ⣿ █░", "", "a  b"])
def test_visible_text_is_left_alone(text: str) -> None:
    """Whatever the script."""
    assert printable(text) == text


def test_a_cell_has_an_end() -> None:
    """However long the text that a gateway sent."""
    assert len(cell("x" * 1_000_000)) == 303


def test_json_is_visible_ascii_and_says_the_same() -> None:
    """DEL is ASCII too, and no more visible than the rest."""
    value = {"a\x1b": "\x7f\x9b\u202e\n\udc80"}
    line = json_line(value)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == value


def test_lines_are_printed_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A line's own line breaks do not count; its indent is kept."""
    say("  indented", "", "one\ntwo")
    complain("bad\nnews")
    out, err = capsys.readouterr()
    assert out == "  indented\n\none two\n"
    assert err == "facegate: bad news\n"


def test_a_terminal_that_cannot_show_a_character_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets an escape in its place."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    say("Zoë 東京")
    sys.stdout.flush()
    assert written.getvalue() == b"Zo\xeb \\u6771\\u4eac\n"
