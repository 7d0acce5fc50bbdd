"""Tables, bars and numbers on a terminal; colours and boxes only there (rich honours NO_COLOR)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.cli.terminal import cell

_BAR_CELLS = 20


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = (), whole: Sequence[str] = ()
) -> None:
    """Prints a table. Columns in `numbers` are aligned to the right, those in `whole` are not broken if they fit.

    A narrow terminal folds cells, and off a terminal nothing is folded: no part of a cell is ever lost.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=400)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in numbers else "left",
            no_wrap=column in whole or not console.is_terminal,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(escape(cell(text)) for text in row))
    console.print(table)


def bar(part: float, whole: float) -> str:
    """`part` of `whole` as a bar of fixed width."""
    share = 0.0 if whole <= 0 else min(1.0, max(0.0, part / whole))
    filled = round(share * _BAR_CELLS)
    return "█" * filled + "░" * (_BAR_CELLS - filled)


def clock_time(seconds: float) -> str:
    """A time in seconds since 1970 as UTC, to the second; the number itself if there is no such time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(seconds)
