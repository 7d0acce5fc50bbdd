"""`python -m gateway` and the console script `facegate`."""

from __future__ import annotations

import os
import sys

from gateway.cli.signals import process_signals
from gateway.telemetry import process_start


def main() -> None:
    """Runs the command line and exits with its status."""
    if sys.argv[1:2] == ["serve"]:
        # Before all that takes time to load: a signal may come at any moment.
        process_signals.hold()
    # Before any import of a library that reads the environment or opens a file.
    process_start.prepare(os.environ)
    from gateway.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
