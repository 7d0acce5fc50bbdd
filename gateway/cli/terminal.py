"""THE way to the terminal: every command prints here, and nothing here can be more than visible text on its line.

What a gateway answers, what a file is called and what a person typed may hold escape sequences, which would move the
cursor, change the terminal's title or hide what was printed before. A test refuses any other way to print.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

REPLACEMENT = "\ufffd"
_CELL_LENGTH = 300


def printable(text: str) -> str:
    """`text` on one line without control characters, marks of writing direction and the like."""
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " if c.isspace() else REPLACEMENT for c in text).strip()


def cell(text: str) -> str:
    """`text` as a cell of a table: printable, and cut if it is longer than any name or number."""
    text = printable(text[: _CELL_LENGTH + 1])
    return text if len(text) <= _CELL_LENGTH else f"{text[:_CELL_LENGTH]}..."


def say(*lines: str) -> None:
    """Prints each of `lines` on a line of its own."""
    _print(lines, to_errors=False)


def complain(*problems: str) -> None:
    """Prints each problem on a line of stderr."""
    _print([f"facegate: {problem}" for problem in problems], to_errors=True)


def json_line(value: Any) -> str:
    """`value` as one line of JSON in visible ASCII."""
    return json.dumps(value, ensure_ascii=True)


def _print(lines: Sequence[str], *, to_errors: bool) -> None:
    encoding = (sys.stderr if to_errors else sys.stdout).encoding or "utf-8"
    for line in lines:
        # Spaces at the start are layout: of commands to paste and of YAML.
        indent = len(line) - len(line.lstrip(" "))
        text = " " * indent + printable(line)
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=to_errors)
