"""Reads the configuration's file: all of it, and never more than a configuration may have."""

from __future__ import annotations

from pathlib import Path

from gateway.config.document import SMALLER
from gateway.config.problems import ConfigError
from gateway.files import FileTooLarge, NotAFile, read_file

MAX_FILE_BYTES = 16 * 1024 * 1024


def read_content(file: Path) -> bytes:
    """The bytes of `file`, which may be a pipe. Raises `ConfigError`."""
    try:
        return _content(file)
    except FileTooLarge:
        raise ConfigError((f"{file}: is larger than {MAX_FILE_BYTES} bytes (16 MiB): {SMALLER}",)) from None
    except OSError as error:
        why = error.strerror or "not a file"
        raise ConfigError((f"{file}: cannot be read ({why}): name the configuration by --config",)) from None


def _content(file: Path) -> bytes:
    try:
        return read_file(file, MAX_FILE_BYTES)
    except NotAFile:
        # `facegate config check` also takes a pipe.
        with file.open("rb") as piped:
            return piped.read(MAX_FILE_BYTES + 1)
