"""`facegate demo`: sandbox and gateway in one process, a real photo searched over real gRPC and HTTP.

Nothing leaves the machine: both listen on loopback, the stores are memory, the credentials are the sandbox's public ones.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.address import DEFAULT_TARGET
from gateway.cli.failure import Failure
from gateway.cli.loop import run
from gateway.cli.sandbox import address
from gateway.cli.terminal import say

if TYPE_CHECKING:
    from gateway.cli.client import Client
    from gateway.config import Config

FACE_SET = "employees"
_SANDBOX_FACE_SET = "demo"
DEFAULT_OPS = "127.0.0.1:9464"
_SOMEWHERE = ("127.0.0.1", 0)
_METHOD = "facegate.search.v1.FaceSearchService/SearchFace"
_EXAMPLES = """\b
Examples:
  facegate demo
  facegate demo --once"""


@click.command(name="demo", epilog=_EXAMPLES)
@click.option("--once", is_flag=True, help="Search on free ports and exit: 0 if a face matched, 1 if none did.")
@click.option(
    "--listen",
    default=DEFAULT_TARGET,
    show_default=True,
    callback=address,
    metavar="HOST:PORT",
    help="A loopback address for the gateway. Port 0 takes a free one.",
)
@click.option(
    "--ops-listen",
    default=DEFAULT_OPS,
    show_default=True,
    callback=address,
    metavar="HOST:PORT",
    help="A loopback address for the status page. Port 0 takes a free one.",
)
def command(listen: tuple[str, int], ops_listen: tuple[str, int], *, once: bool) -> None:
    """Show a search end to end on this machine: a stand-in for the vendor, the gateway, a real photo."""
    from gateway.config.values import is_loopback

    for option, (host, _) in (("--listen", listen), ("--ops-listen", ops_listen)):
        if not is_loopback(host):
            raise click.BadParameter(
                "must be a loopback address: the demo takes calls without credentials", param_hint=f"'{option}'"
            )
    if once:
        # Nobody has the time to call it, so it gets out of the way of whatever runs on the usual ports.
        source = click.get_current_context().get_parameter_source
        given = click.core.ParameterSource.COMMANDLINE
        listen = listen if source("listen") is given else _SOMEWHERE
        ops_listen = ops_listen if source("ops_listen") is given else _SOMEWHERE
    matches = run(_demo(listen, ops_listen, once=once))
    if once and matches == 0:
        raise Failure("no face matched: the shipped portrait should have")


async def _demo(listen: tuple[str, int], ops_listen: tuple[str, int], *, once: bool) -> int | None:
    """Runs the demo and returns how many searches matched; None if a signal came before them."""
    from gateway.app import StartError, open_gateway
    from gateway.cli.client import connect
    from gateway.cli.demo_folder import demo_folder
    from gateway.cli.on_signal import OnSignal
    from gateway.cli.options import Target
    from gateway.cli.sandbox import sandbox_runner
    from gateway.cli.signals import LEAVE, RELOAD, process_signals
    from gateway.telemetry.logging import configure_logging

    matches = None
    process_signals.hold()
    # A terminal that closes ends the demo, and the folder goes with it.
    with OnSignal(leave=LEAVE | {RELOAD}) as signals, ExitStack() as stack:
        folder = stack.enter_context(demo_folder())
        try:
            async with sandbox_runner()("127.0.0.1", 0) as sandbox:
                config = _config(folder, sandbox.url, listen, ops_listen)
                log = folder / "gateway.log"
                logs = configure_logging("json", stack.enter_context(log.open("w", encoding="utf-8")))
                stack.callback(logs.close)
                async with open_gateway(config) as gateway:
                    await signals.opened(gateway)
                    if not once:
                        # Addresses and files that are gone in a moment are of no use.
                        say(f"sandbox  {sandbox.url}", f"gateway  {gateway.address}")
                        say(f"status   http://{gateway.ops_address}/", f"log      {log}", "")
                    async with connect(Target(gateway.address)) as client:
                        matches = await _search(client)
                    if once:
                        gateway.begin_drain()
                    else:
                        _print_invitation(folder, gateway.address)
                    await gateway.wait_closed()
        except StartError as error:
            raise Failure(f"{error}; a free port instead: --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0") from None
        except BrokenPipeError:
            # Whoever read the output is gone, as with `facegate demo --once | head`: no fault, and nobody to tell.
            raise
        except OSError as error:
            raise Failure(error.strerror or "the demo cannot start") from None
    return matches


def _config(folder: Path, upstream_url: str, listen: tuple[str, int], ops_listen: tuple[str, int]) -> Config:
    from gateway.config import ConfigError, parse_config
    from gateway.sandbox.accounts import SANDBOX_API_ID, SANDBOX_API_SECRET

    credential = {"name": "sandbox"}
    for name, value in (("api_id", SANDBOX_API_ID), ("api_secret", SANDBOX_API_SECRET)):
        file = folder / name
        file.write_text(value)
        credential[f"{name}_file"] = str(file)
    settings = {
        "server": {"listen": _shown(listen), "drain_seconds": 2},
        "ops": {"listen": _shown(ops_listen)},
        "upstream": {"base_url": upstream_url, "credentials": [credential]},
        "auth": {"anonymous_tenant": "demo"},
        "tenants": [{"id": "demo", "face_sets": {FACE_SET: _SANDBOX_FACE_SET}, "limits": {"concurrency": 8}}],
    }
    try:
        return parse_config(json.dumps(settings))
    except ConfigError as error:
        raise Failure(*error.problems) from None


def _shown(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def portrait() -> Path:
    """The photo to search with: the enrolled portrait in another size and compression."""
    return _shipped("queries/*.jpg")


def stranger() -> Path:
    """A photo of someone who is enrolled, but not in the face set that is searched."""
    return _shipped("faces/visitors/*.jpg")


def _shipped(pattern: str) -> Path:
    import gateway.sandbox

    return min((Path(str(gateway.sandbox.__file__)).parent / "data").glob(pattern))


async def _search(client: Client) -> int:
    from gateway.cli.call_failure import CallFailure
    from gateway.cli.messages import cache_status, outcome, search_request
    from gateway.cli.output import print_table

    rows: list[tuple[str, ...]] = []
    matches, refusal = 0, ""
    searches = (
        (FACE_SET, portrait()),
        (FACE_SET, portrait()),
        (FACE_SET, stranger()),
        ("secret", portrait()),
    )
    for face_set, photo in searches:
        start = perf_counter()
        try:
            reply: Any = await client.search(search_request(face_set, photo.read_bytes(), None, 3), timeout_seconds=10)
        except CallFailure as failure:
            refusal = f"{failure.code} {failure.reason}".strip()
            rows.append((face_set, photo.name, "refused", "", "", "", _since(start)))
            continue
        matches += bool(reply.matches)
        best = reply.matches[0] if reply.matches else None
        person, score = ("", "") if best is None else (str(best.person_id), f"{best.score:.3f}")
        rows.append((face_set, photo.name, outcome(reply), person, score, cache_status(reply), _since(start)))
    columns = ("face set", "photo", "answer", "person", "score", "cache", "ms")
    print_table(columns, rows, numbers=("score", "ms"), names=("photo",))
    say("", f"The last call failed on purpose: {refusal}.")
    say("The tenant has no face set of that name, and is not told more.")
    return matches


def _since(start: float) -> str:
    return f"{(perf_counter() - start) * 1000:.1f}"


def _print_invitation(folder: Path, target: str) -> None:
    request = folder / "search.json"
    content = base64.b64encode(portrait().read_bytes()).decode()
    request.write_text(json.dumps({"face_set": FACE_SET, "image": {"content": content}}))
    elsewhere = "" if target == DEFAULT_TARGET else f" --target {target}"
    say("", "Both go on until Ctrl-C. To call the gateway, in another terminal:")
    say(f"  grpcurl -plaintext -d @ {target} {_METHOD} < {request}")
    # `make demo` starts it by its path, out of an environment that the other terminal has not activated.
    program = "facegate" if shutil.which("facegate") else str(Path(sys.executable).with_name("facegate"))
    say(f"  {program} search {portrait()} --face-set {FACE_SET}{elsewhere}")
