"""Which image files a command line names, and their bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from gateway.cli.call_failure import CallFailure
from gateway.cli.failure import Failure
from gateway.cli.options import STDIN

MAX_BYTES = 5_242_880
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


def image_files(arguments: Iterable[Path]) -> list[Path]:
    """The files named, and for a folder its JPEG and PNG files in the order of their names. `-` is standard input."""
    files: list[Path] = []
    for argument in arguments:
        if argument != STDIN and argument.is_dir():
            found = sorted(p for p in argument.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            if not found:
                raise Failure(f"{argument} holds no JPEG or PNG files")
            files += found
        else:
            files.append(argument)
    return list(dict.fromkeys(files))


def read_image(file: Path) -> bytes:
    """The bytes of `file`. Raises CallFailure for what is not worth sending."""
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CallFailure("NOT_SENT", f"the file cannot be read ({error.strerror})") from None
    if file == STDIN and not content:
        raise CallFailure("NOT_SENT", "standard input is empty")
    if len(content) > MAX_BYTES:
        raise CallFailure("NOT_SENT", f"the file is larger than {MAX_BYTES} bytes")
    return content
