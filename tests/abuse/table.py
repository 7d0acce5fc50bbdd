"""`python -m tests.abuse.table`: runs the attacks and the loads, and prints what each did to the gateway as Markdown.

Arguments go to pytest; without any, all of `tests/abuse` and `tests/load` run. With `ABUSE=long` they run at full length.
Run it before a change and after it: the tables are made to be compared. Exits with pytest's status.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.support.measurements import RECORDS

_HEAD = (
    "attack or load",
    "sent",
    "peak resident",
    "gateway's processor",
    "attacker's",
    "honest callers",
    "p50",
    "p99",
    "more",
    "test",
)


def table(rows: Iterable[dict[str, Any]], failed: set[str]) -> str:
    """The measurements as a table; `failed` are the names of tests that failed."""
    lines = [_HEAD, ("---",) * len(_HEAD)]
    lines += [
        (
            row["name"],
            _bytes(row["sent_bytes"]),
            f"{row['peak_mib']:.0f} MiB" if row["peak_mib"] else "",
            f"{row['processor_seconds']:.1f} s" if row["peak_mib"] else "",
            f"{row['attacker_seconds']:.1f} s" if row["attacker_seconds"] else "",
            row["honest"],
            _milliseconds(row["p50_ms"]),
            _milliseconds(row["p99_ms"]),
            row["notes"],
            "**fails**" if row["test"].rpartition("::")[2] in failed else "passes",
        )
        for row in rows
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Runs the tests one after the other: two at a time would share the processor that is measured."""
    with tempfile.TemporaryDirectory(prefix="facegate-abuse-") as folder:
        records, report = Path(folder) / "records", Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", f"--junitxml={report}"]
        command += arguments or ["tests/abuse", "tests/load"]
        # pytest's own words go to stderr, so that stdout is the table alone.
        status = subprocess.run(
            command, check=False, env={**os.environ, RECORDS: str(records)}, stdout=sys.stderr
        ).returncode
        rows = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
        failed = {
            str(case.get("name")).partition(" ")[0]
            for case in ET.parse(report).iter("testcase")
            if case.find("failure") is not None or case.find("error") is not None
        }
    print(table(rows, failed))  # noqa: T201 - what the command is for
    return status


def _bytes(count: int) -> str:
    if not count:
        return ""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
