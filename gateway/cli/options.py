"""The options that all client commands share: where to call, as whom, and how the connection is protected."""

from __future__ import annotations

import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway.cli.failure import Failure
from gateway.cli.terminal import complain

DEFAULT_TARGET = "127.0.0.1:50051"
_MAX_FILE_BYTES = 1024 * 1024

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway to call. `token` is None for a caller without one; `tls_ca` are PEM bytes, None for plaintext."""

    address: str
    token: str | None = field(repr=False, default=None)
    tls_ca: bytes | None = field(repr=False, default=None)


def target_options(command: _Command) -> _Command:
    """Adds --target, --token-file and --tls-ca."""
    command = click.option(
        "--tls-ca",
        type=click.Path(path_type=Path),
        help="Authorities that the gateway's certificate is verified against, PEM. Without it the call is plaintext.",
    )(command)
    command = click.option(
        "--token-file", type=click.Path(path_type=Path), help="File that holds the caller's bearer token."
    )(command)
    return address_option(command)


def address_option(command: _Command) -> _Command:
    """Adds --target."""
    return click.option(
        "--target",
        envvar="FACEGATE_TARGET",
        default=DEFAULT_TARGET,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        help="The gateway to call.",
    )(command)


def target_from(address: str, token_file: Path | None, tls_ca: Path | None) -> Target:
    """Reads the files that the options name."""
    token = None
    if token_file is not None:
        token = _read(token_file, "--token-file").decode("ascii", "replace").strip()
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Failure(f"--token-file: {token_file} does not hold a token: expected one line of visible characters")
        _warn_of_readers(token_file)
        if tls_ca is None:
            _warn_of_plaintext(address)
    return Target(address, token, None if tls_ca is None else _read(tls_ca, "--tls-ca"))


def _warn_of_plaintext(address: str) -> None:
    from gateway.config.values import is_loopback  # brings pydantic along: half a second that others need not pay

    if not is_loopback(address.rpartition(":")[0]):
        complain(f"warning: the token is sent to {address} in plaintext; add --tls-ca")


def _warn_of_readers(token_file: Path) -> None:
    with suppress(OSError):
        found = token_file.stat()
        # A pipe, as of `<(pass show token)`, has no readers but this one.
        if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            complain(f"warning: other users can read {token_file}: run `chmod 600` on it")


def _read(file: Path, option: str) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failure(f"{option}: {file} cannot be read ({error.strerror})") from None
    if len(content) > _MAX_FILE_BYTES:
        raise Failure(f"{option}: {file} is larger than {_MAX_FILE_BYTES} bytes")
    return content
