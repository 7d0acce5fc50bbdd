"""`facegate sandbox`: run the stand-in for the vendor's endpoint until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click

from gateway.cli.failure import Failure
from gateway.cli.terminal import say

_EXAMPLES = """\b
Examples:
  facegate sandbox
  facegate sandbox --listen 127.0.0.1:8080 --faces ./faces"""


def address(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    """A click callback for HOST:PORT."""
    from gateway.config.values import split_address

    try:
        return split_address(value)
    except ValueError:
        raise click.BadParameter("must be HOST:PORT, such as 127.0.0.1:8080", ctx=ctx, param=parameter) from None


@click.command(name="sandbox", epilog=_EXAMPLES)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    callback=address,
    metavar="HOST:PORT",
    help="Where to listen.",
)
@click.option(
    "--faces",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of face sets: each a folder of photos. Default: those that are shipped.",
)
def command(listen: tuple[str, int], faces: Path | None) -> None:
    """Run a local stand-in for the vendor's endpoint, with shipped photos, until Ctrl-C."""
    asyncio.run(_run(*listen, faces))


def sandbox_runner() -> Callable[..., AbstractAsyncContextManager[Any]]:
    """`run_sandbox`, or a failure that says what to install."""
    try:
        from gateway.sandbox.server import run_sandbox
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gateway.sandbox"):
            raise Failure("the sandbox is not part of this image: `make image-sandbox` builds one with it") from None
        raise Failure(str(error)) from None
    except ImportError as error:
        raise Failure(str(error)) from None
    return run_sandbox


async def _run(host: str, port: int, faces: Path | None) -> None:
    run_sandbox = sandbox_runner()
    from gateway.sandbox.accounts import SANDBOX_API_ID, SANDBOX_API_SECRET

    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    try:
        async with run_sandbox(host, port, faces_dir=faces) as sandbox:
            say(f"the sandbox listens on {sandbox.url}")
            say(f"API id {SANDBOX_API_ID}, API secret {SANDBOX_API_SECRET}")
            await leave.wait()
    except OSError as error:
        raise Failure(error.strerror or "the sandbox cannot start") from None
