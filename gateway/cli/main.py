"""Finds the command that is called and imports nothing of the others, so that `facegate --help` answers at once."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Sequence

import click

from gateway.cli.call_failure import CallFailure
from gateway.cli.failure import INTERRUPTED, Failure
from gateway.cli.terminal import complain, say

COMMANDS = {
    "serve": "Run the gateway.",
    "sandbox": "Run a local stand-in for the vendor's endpoint.",
    "demo": "Show a search end to end on this machine: sandbox, gateway, a real photo.",
    "search": "Search the faces of images in a face set.",
    "quota": "Show the caller's limits and what is left of them.",
    "usage": "Show the caller's usage per day; operators see all tenants.",
    "purge": "Invalidate cached answers on every replica (operators).",
    "health": "Ask a gateway whether it serves; the exit status is for probes.",
    "config": "Check a configuration, or print its schema.",
    "token": "Make a token for a tenant's callers.",
}

_EXAMPLES = """\b
Examples:
  facegate demo --once
  facegate config check facegate.yaml
  facegate serve --config facegate.yaml
  facegate search photo.jpg --face-set employees --target 127.0.0.1:50051"""


class _Commands(click.Group):
    """The commands of the table above, each in the module of its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gateway.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name.lower(), COMMANDS, n=1, cutoff=0.5)
            hint = f"did you mean `facegate {near[0]}`?" if near else f"there are {', '.join(COMMANDS)}"
            ctx.fail(f"no such command: {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        say(f"facegate {version('facegate')}")
        ctx.exit()


@click.group(cls=_Commands, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the version."
)
def facegate() -> None:
    """A gRPC gateway to a face search service: tenants, quotas, a result cache, and no secrets at the callers."""


def run(arguments: Sequence[str]) -> int:
    """Runs a command and returns the exit status: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    # gRPC's core writes to stderr past every filter; what matters of it reaches the caller as a status.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        status = facegate.main(list(arguments), prog_name="facegate", standalone_mode=False)
    except Failure as failure:
        complain(*failure.problems)
        return failure.exit_code
    except CallFailure as failure:
        complain(failure.line())
        return Failure.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(*error.ctx.get_help().splitlines())
        complain("a command is missing")
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "facegate"
        complain(f"{error.format_message()} (see `{path} --help`)")
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    return status if isinstance(status, int) else 0
