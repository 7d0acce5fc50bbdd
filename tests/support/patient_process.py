"""The gateway's command line, with patience for its stores: `python -m tests.support.patient_process serve ...`."""

from __future__ import annotations

from gateway.__main__ import main
from tests.support.patience import patience

if __name__ == "__main__":
    with patience():
        main()
