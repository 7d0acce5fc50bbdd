"""The options that all client commands share: where to call, as whom, and how the connection is protected."""

from __future__ import annotations

import functools
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from gateway.cli.address import DEFAULT_TARGET, check_address, host_port, is_loopback
from gateway.cli.failure import Failure
from gateway.cli.terminal import complain

_MAX_FILE_BYTES = 1024 * 1024
STDIN = Path("-")
"""A file of this name is standard input."""

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is protected: PEM, or None for gRPC's own authorities and for a caller without a certificate.

    `pair` are the files of `client_cert` and `client_key`.
    """

    authorities: bytes | None = field(repr=False, default=None)
    client_cert: bytes | None = field(repr=False, default=None)
    client_key: bytes | None = field(repr=False, default=None)
    pair: tuple[Path, Path] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway to call. `token` is None for a caller without one; `tls` is None for plaintext."""

    address: str
    token: str | None = field(repr=False, default=None)
    tls: Tls | None = field(repr=False, default=None)


def target_options(command: Command) -> Command:
    """Adds --target, --token-file and the options of TLS, which the command gets as one `where`, a `Target`."""
    file = click.Path(path_type=Path, allow_dash=True)

    @functools.wraps(command)
    def with_target(*arguments: Any, token_file: Path | None, **options: Any) -> Any:
        address, tls = options.pop("target"), _tls(options)
        return command(*arguments, where=_target(address, token_file, tls), **options)

    token = click.option(
        "--token-file",
        type=file,
        envvar="FACEGATE_TOKEN_FILE",
        show_envvar=True,
        help="File that holds the caller's bearer token; `-` is standard input.",
    )
    return address_option(token(_tls_options(with_target)))


def probe_options(command: Command) -> Command:
    """Adds --target and the options of TLS: for a call without a token. The command gets a `Target` as `where`."""

    @functools.wraps(command)
    def with_target(*arguments: Any, **options: Any) -> Any:
        address, tls = options.pop("target"), _tls(options)
        return command(*arguments, where=Target(address, None, tls), **options)

    return address_option(_tls_options(with_target))


def address_option(command: Command) -> Command:
    """Adds --target."""
    return click.option(
        "--target",
        envvar="FACEGATE_TARGET",
        default=DEFAULT_TARGET,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        callback=_checked,
        help="The gateway to call.",
    )(command)


def _tls_options(command: Command) -> Command:
    file = click.Path(path_type=Path)
    for name, text, environment in (
        ("--client-key", "Private key of --client-cert, PEM, not encrypted.", "FACEGATE_CLIENT_KEY"),
        ("--client-cert", "Certificate to show to the gateway, PEM. Implies --tls.", "FACEGATE_CLIENT_CERT"),
        ("--tls-ca", "Authorities of the gateway's certificate, PEM. Implies --tls.", "FACEGATE_TLS_CA"),
    ):
        command = click.option(name, type=file, envvar=environment, show_envvar=True, help=text)(command)
    return click.option(
        "--tls",
        is_flag=True,
        envvar="FACEGATE_TLS",
        show_envvar=True,
        help="Call over TLS and verify the gateway's certificate against the system's authorities. Default: plaintext.",
    )(command)


def _checked(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        return check_address(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}", ctx=ctx, param=parameter) from None


def _tls(options: dict[str, Any]) -> Tls | None:
    """Takes the options of TLS out of `options` and reads the files that they name."""
    wanted, ca, cert, key = (options.pop(name) for name in ("tls", "tls_ca", "client_cert", "client_key"))
    if (cert is None) != (key is None):
        raise click.UsageError("--client-cert and --client-key go together: name both", click.get_current_context())
    if not wanted and ca is None and cert is None:
        return None
    from gateway.cli.authorities import system_authorities

    return Tls(
        system_authorities() if ca is None else _pem(ca, "--tls-ca", b"CERTIFICATE"),
        None if cert is None else _pem(cert, "--client-cert", b"CERTIFICATE"),
        None if key is None else _pem(key, "--client-key", b"PRIVATE KEY"),
        None if cert is None or key is None else (cert, key),
    )


def _target(address: str, token_file: Path | None, tls: Tls | None) -> Target:
    if token_file is None:
        return Target(address, None, tls)
    token = _read(token_file, "--token-file").decode("ascii", "replace").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Failure(f"--token-file: {token_file} does not hold a token: expected one line of visible characters")
    _warn_of_readers(token_file)
    if tls is None:
        _warn_of_plaintext(address)
    return Target(address, token, tls)


def _warn_of_plaintext(address: str) -> None:
    with suppress(ValueError):
        if not is_loopback(host_port(address).host):
            complain(f"warning: the token is sent to {address} in plaintext; add --tls or --tls-ca")


def _warn_of_readers(token_file: Path) -> None:
    with suppress(OSError):
        found = token_file.stat()
        # A pipe, as of `<(pass show token)`, has no readers but this one.
        if stat.S_ISREG(found.st_mode) and found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            complain(f"warning: other users can read {token_file}: run `chmod 600` on it")


def _pem(file: Path, option: str, kind: bytes) -> bytes:
    content = _read(file, option)
    if kind + b"-----" not in content:
        raise Failure(f"{option}: {file} holds no {kind.decode().lower()}: expected PEM")
    return content


def _read(file: Path, option: str) -> bytes:
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(_MAX_FILE_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failure(f"{option}: {file} cannot be read ({error.strerror})") from None
    if len(content) > _MAX_FILE_BYTES:
        raise Failure(f"{option}: {file} is larger than {_MAX_FILE_BYTES} bytes")
    return content
