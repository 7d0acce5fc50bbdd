"""What an attack or a load did to the gateway, kept for the table that `python -m tests.abuse.table` prints."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDS = "ABUSE_RECORDS"
"""The variable that names the file to which measurements are added, one JSON object per line."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """One row. Bytes sent by the attacker, the gateway's memory and processor time, what honest callers saw."""

    name: str
    sent_bytes: int
    peak_mib: float
    processor_seconds: float
    attacker_seconds: float
    honest: str
    p50_ms: float | None
    p99_ms: float | None
    notes: str = ""


def keep(measurement: Measurement) -> None:
    """Logs the row, and adds it to the file if there is one."""
    row = asdict(measurement) | {"test": os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]}
    log.info("%s", row)
    if file := os.environ.get(RECORDS):
        with Path(file).open("a") as records:
            records.write(json.dumps(row) + "\n")
