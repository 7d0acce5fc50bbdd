"""The proxy's credentials: `USER:PASSWORD` in a file, read at the start and when it changes."""

from __future__ import annotations

from pathlib import Path

from gateway.config.files import shown_path
from gateway.files import FileTooLarge, read_file
from gateway.secret import Secret

KEY = "upstream.proxy.credentials_file"
MAX_BYTES = 4096


class LoginError(Exception):
    """A file that cannot be used. The text names the key and the remedy, never what is in the file."""


class ProxyLogin:
    """Gives the credentials in force, as `user:password`. Call it for every connection. Raises `LoginError` when made."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._secret = self._read()

    def __call__(self) -> Secret:
        """The credentials. Send them, and keep no reference to them."""
        return self._secret

    def reload(self) -> None:
        """Reads the file again. Raises `LoginError`, and keeps the credentials that it has, if it cannot be used."""
        self._secret = self._read()

    def _read(self) -> Secret:
        where = f"{KEY}: {shown_path(self._file)}"
        try:
            text = read_file(self._file, MAX_BYTES).decode("utf-8").rstrip("\r\n")
        except FileTooLarge:
            raise LoginError(f"{where} is longer than {MAX_BYTES} bytes: it holds something else") from None
        except (OSError, UnicodeDecodeError):
            raise LoginError(f"{where} cannot be read: create it and let the gateway's user read it") from None
        user, colon, _ = text.partition(":")
        if not (user and colon and text.isprintable()):
            raise LoginError(f"{where} does not hold USER:PASSWORD on one line")
        return Secret(text)
