"""The command line prints by one file, which makes every text harmless."""

from __future__ import annotations

import re

from tests.architecture.tracked import python_files

PRINTS = re.compile(r"\b(print|(click\.)?(echo|secho|echo_via_pager|progressbar)|std(out|err)\.write|Console)\(")
# `output` and `report` draw with rich: tables of `cell`s, and a progress bar without any text from outside.
MAY = {"gateway/cli/terminal.py", "gateway/cli/output.py", "gateway/cli/report.py"}


def test_only_one_file_prints() -> None:
    """A command that printed by itself could print an escape sequence that a gateway sent."""
    printing = {
        str(path)
        for path, text in python_files("gateway")
        if str(path).startswith("gateway/cli/") and PRINTS.search(text)
    }
    assert printing == MAY
