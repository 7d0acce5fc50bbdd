"""`python -m gateway` and the console script `facegate`."""

from __future__ import annotations

import sys

from gateway.cli.main import run


def main() -> None:
    """Runs the command line and exits with its status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
