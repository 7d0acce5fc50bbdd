"""`python -m gateway` and the console script `facegate`."""

from __future__ import annotations

import os
import sys

from gateway.telemetry import process_start


def main() -> None:
    """Runs the command line and exits with its status."""
    # Before any import of a library that reads the environment or opens a file.
    process_start.prepare(os.environ)
    from gateway.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
