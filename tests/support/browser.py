"""A headless Chromium, by its command line."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--virtual-time-budget=3000",
)


def chromium() -> str | None:
    """The browser's path, if it is installed."""
    return shutil.which("chromium")


async def browse(url: str, *flags: str) -> tuple[str, str]:
    """Opens a page until its scripts are done; what the browser wrote on stdout and on stderr."""
    binary = chromium()
    assert binary is not None
    with tempfile.TemporaryDirectory() as profile:
        process = await asyncio.create_subprocess_exec(
            binary,
            *_FLAGS,
            f"--user-data-dir={profile}",
            *flags,
            url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 120)
        except TimeoutError:
            process.kill()
            raise
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


async def screenshot(url: str, file: Path, *, width: int, height: int, dark: bool) -> None:
    """A picture of a page."""
    dark_flags = ("--blink-settings=preferredColorScheme=0",) if dark else ()
    await browse(url, f"--screenshot={file}", f"--window-size={width},{height}", *dark_flags)
