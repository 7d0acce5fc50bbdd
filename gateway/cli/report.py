"""How the results of searches are shown, each as soon as it is there: JSON lines, plain lines or a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gateway.cli import messages
from gateway.cli.call_failure import CallFailure
from gateway.cli.output import clock_day, clock_time, print_table
from gateway.cli.terminal import cell, complain, json_line, say

_COLUMNS = ("image", "person", "face", "score", "enrolled", "cache")


class Report:
    """Collects results; leaving it, even by Ctrl-C, shows what is not shown yet. `failures` counts errors."""

    def __init__(self, total: int, *, as_json: bool) -> None:
        self.failures = 0
        self._as_json = as_json
        self._rows: list[tuple[str, ...]] = []
        self._tabulates = not as_json and sys.stdout.isatty()
        self._progress = _progress(total) if total > 1 and sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
        if self._rows:
            print_table(_COLUMNS, _with_short_names(self._rows), numbers=("score",), names=("image",))

    def answered(self, image: Path, reply: Any) -> None:
        """A search that was answered. Raises CallFailure if the answer cannot be shown."""
        if self._as_json:
            self._print(json_line({"image": str(image), "response": messages.as_mapping(reply)}))
        elif self._tabulates:
            self._rows += _table_rows(image, reply)
        else:
            for row in _lines(image, reply):
                self._print("  ".join(cell(text) for text in row if text))
        self._advance()

    def failed(self, image: Path, failure: CallFailure) -> None:
        """A search that failed: a line on stderr, and for programs one among the results."""
        self.failures += 1
        if self._as_json:
            self._print(json_line({"image": str(image), "error": failure.as_mapping()}))
        self._print(f"{cell(str(image))}: {failure.line()}", to=complain)
        self._advance()

    def _print(self, line: str, *, to: Callable[[str], None] = say) -> None:
        with self._cleared():
            to(line)

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        """The terminal without the progress bar, so that a line does not run into it."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        yield
        self._progress.start()

    def _advance(self) -> None:
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0])


def _with_short_names(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows without folders, where the files' own names tell them apart."""
    images = {row[0] for row in rows}
    if len({Path(image).name for image in images}) < len(images):
        return rows
    return [(Path(image).name, *cells) for image, *cells in rows]


def _lines(image: Path, reply: Any) -> list[tuple[str, ...]]:
    """What a line per match says, with everything that is known of it."""
    outcome, cache = messages.outcome(reply), messages.cache_status(reply)
    return [(str(image), outcome, *_ids(match), _enrolled(match, clock_time), cache) for match in reply.matches] or [
        (str(image), outcome, cache)
    ]


def _table_rows(image: Path, reply: Any) -> list[tuple[str, ...]]:
    """The same in 80 columns: who was found says that there was a match, and the day of enrolment is enough."""
    cache = messages.cache_status(reply)
    return [(str(image), *_ids(match), _enrolled(match, clock_day), cache) for match in reply.matches] or [
        (str(image), messages.outcome(reply), "", "", "", cache)
    ]


def _ids(match: Any) -> tuple[str, str, str]:
    return str(match.person_id), str(match.face_id), f"{match.score:.3f}"


def _enrolled(match: Any, written: Callable[[float], str]) -> str:
    """When; empty if the vendor did not say."""
    return written(match.create_time.seconds) if match.HasField("create_time") else ""


def _progress(total: int) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    progress.add_task("", total=total)
    return progress
