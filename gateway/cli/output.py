"""Tables, bars and numbers on a terminal; colours and boxes only there (rich honours NO_COLOR)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.cli.terminal import cell, say

_BAR_CELLS = 20
_NARROWEST_BAR = 5
_NARROWEST_NAME = 8
_GAP = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell: `part` of `whole` as a bar, as wide as the terminal has room for, and left out if it has none."""

    part: float
    whole: float

    def of(self, cells: int) -> str:
        """The bar in `cells` characters."""
        share = 0.0 if self.whole <= 0 else min(1.0, max(0.0, self.part / self.whole))
        filled = round(share * cells)
        return "█" * filled + "░" * (cells - filled)


Cell = str | Bar


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Sequence[str] = (), names: Sequence[str] = ()
) -> None:
    """Prints a table. Columns in `numbers` are aligned to the right; those in `names` are folded if they must be.

    No other cell is ever folded or cut: an id of which a part is missing, or that is spread over two lines, cannot be
    copied. A terminal that is too narrow for them gets each row as a list, one cell per line. Off a terminal nothing is
    folded at all.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)
    table = [[text if isinstance(text, Bar) else cell(text) for text in row] for row in rows]
    widths = [
        max((cell_len(text) for row in table if isinstance(text := row[n], str)), default=0)
        for n in range(len(columns))
    ]
    widths = [max(width, _heading_width(column)) for width, column in zip(widths, columns, strict=True)]
    bars = {n for row in table for n, text in enumerate(row) if isinstance(text, Bar)}
    _fit_names(columns, widths, bars, names, console.width)
    room = console.width - _total(widths, bars)
    if room < 0:
        _print_lists(columns, table)
        return
    bar_cells = min(_BAR_CELLS, room - _GAP)
    kept = [n for n in range(len(columns)) if n not in bars or bar_cells >= _NARROWEST_BAR]
    _print_grid(console, columns, table, kept, widths, numbers, bar_cells)


def _fit_names(columns: Sequence[str], widths: list[int], bars: set[int], names: Sequence[str], width: int) -> None:
    """Takes from the columns of names what the terminal is too narrow for."""
    for n, column in enumerate(columns):
        excess = _total(widths, bars) - width
        if column in names and excess > 0:
            widths[n] = max(min(widths[n], _NARROWEST_NAME), widths[n] - excess)


def _total(widths: Sequence[int], bars: set[int]) -> int:
    texts = [width for n, width in enumerate(widths) if n not in bars]
    return sum(texts) + _GAP * (len(texts) - 1)


def _print_grid(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    kept: Sequence[int],
    widths: Sequence[int],
    numbers: Sequence[str],
    bar_cells: int,
) -> None:
    # With the divider of one character that makes the gap.
    padding = (0, _GAP - 1, 0, 0) if console.is_terminal else (0, _GAP, 0, 0)
    style = box.SIMPLE_HEAD if console.is_terminal else None
    grid = Table(box=style, pad_edge=False, show_edge=False, padding=padding)
    for n in kept:
        # A heading of several words is folded between them; only a terminal is narrow.
        width = widths[n] if console.is_terminal else max(widths[n], cell_len(columns[n]))
        grid.add_column(
            columns[n],
            justify="right" if columns[n] in numbers else "left",
            width=bar_cells if any(isinstance(row[n], Bar) for row in rows) else width,
            overflow="fold",
        )
    for row in rows:
        cells = (row[n] for n in kept)
        grid.add_row(*(text.of(bar_cells) if isinstance(text, Bar) else escape(text) for text in cells))
    console.print(grid)


def _print_lists(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    for number, row in enumerate(rows):
        if number:
            say("")
        for column, text in zip(columns, row, strict=True):
            if isinstance(text, str) and text:
                say(f"{column}: {text}")


def _heading_width(heading: str) -> int:
    return max((cell_len(word) for word in heading.split()), default=0)


def clock_time(seconds: float) -> str:
    """A time in seconds since 1970 as UTC, to the second; the number itself if there is no such time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def clock_day(seconds: float) -> str:
    """The day of `clock_time`, or all of it if there is no such time."""
    text = clock_time(seconds)
    return text[:10] if text.endswith("Z") else text
