"""Whether a collector takes what is sent to it, as the threads that send find out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

# A collector that works answers within milliseconds; the SDK's exporters try for ten seconds before they give up.
LATE_SECONDS = 1.0


class Delivery:
    """The sending of one signal. `failed` counts batches that were not taken."""

    def __init__(self, signal: str) -> None:
        self.signal = signal
        self.failed = 0
        self._refused = False
        self._began: float | None = None

    def send(self, export: Callable[[], bool]) -> bool:
        """Runs `export`, which says whether its batch was taken; if it raises, it was not. Blocks as long as that takes."""
        self._began = time.monotonic()
        taken = False
        with suppress(Exception):
            taken = export()
        self._refused = not taken
        self._began = None
        self.failed += not taken
        return taken

    @property
    def stuck(self) -> bool:
        """Whether the collector refused the last batch, or is late with the one that is under way."""
        began = self._began
        return self._refused or (began is not None and time.monotonic() - began > LATE_SECONDS)
