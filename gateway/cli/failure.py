"""How a command fails: exit status 1 and one line (or one line a problem) on stderr."""

from __future__ import annotations

import click

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


class Failure(click.ClickException):
    """A command that could not do what it was asked. `problems` are printed, a line each."""

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))
