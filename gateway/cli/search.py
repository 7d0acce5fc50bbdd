"""`facegate search`: search images, several at once, and lose nothing of what was answered."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.options import Target, target_options

if TYPE_CHECKING:
    from gateway.cli.client import Client
    from gateway.cli.report import Report

_EXAMPLES = """\b
Examples:
  facegate search photo.jpg --face-set employees
  facegate search photos/ --face-set employees --max-results 5 --json
  curl -s https://example.com/photo.jpg | facegate search - --face-set employees
  facegate search a.jpg b.png --face-set employees --target gateway:50051 \\
      --token-file token --tls-ca ca.pem"""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about every image. None leaves a parameter to the gateway's default."""

    face_set: str
    threshold: float | None
    max_results: int | None
    timeout_seconds: float


@click.command(name="search", epilog=_EXAMPLES)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True), metavar="IMAGE...")
@click.option("--face-set", required=True, help="Alias of the face set to search.")
@target_options
@click.option("--threshold", type=float, help="Lowest similarity that counts, 0 to 1. Default: the gateway's, 0.8.")
@click.option(
    "--max-results", type=int, help="Maximum number of matches per image, 1 to 10. Default: the gateway's, 1."
)
@click.option(
    "--timeout", default=30.0, show_default=True, type=click.FloatRange(0, 600, min_open=True), help="Seconds."
)
@click.option(
    "--concurrency", default=8, show_default=True, type=click.IntRange(1, 64), help="Searches at the same time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per image.")
def command(
    images: tuple[Path, ...],
    face_set: str,
    where: Target,
    threshold: float | None,
    max_results: int | None,
    timeout: float,
    concurrency: int,
    *,
    as_json: bool,
) -> int:
    """Search the faces of images in a face set of the caller's tenant.

    IMAGE is a JPEG or PNG file, a folder of them, or `-` for standard input. The exit status is 0 if every search was answered, with or without
    a match, and 1 if one failed; a failed one is a line on stderr.
    """
    from gateway.cli.images import image_files
    from gateway.cli.report import Report

    files = image_files(images)
    question = Question(face_set, threshold, max_results, timeout)
    with Report(len(files), as_json=as_json) as report:
        try:
            asyncio.run(_search_all(where, question, files, report, concurrency))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
    return 1 if report.failures else 0


async def _search_all(
    target: Target, question: Question, files: Sequence[Path], report: Report, concurrency: int
) -> None:
    from gateway.cli.client import connect
    from gateway.cli.messages import search_request

    task = asyncio.current_task()
    assert task is not None
    # asyncio's own way with Ctrl-C leaves a moment in which the event loop falls asleep without having seen it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    try:
        search_request(question.face_set, b"", question.threshold, question.max_results)
    except ValueError:
        raise click.UsageError(
            "--max-results and --face-set must fit the protocol: a 32-bit number and UTF-8 text",
            click.get_current_context(),
        ) from None
    waiting = iter(files)
    async with connect(target) as client, asyncio.TaskGroup() as workers:
        for _ in range(min(concurrency, len(files))):
            workers.create_task(_work(client, question, waiting, report))


async def _work(client: Client, question: Question, waiting: Iterator[Path], report: Report) -> None:
    from gateway.cli.call_failure import CallFailure
    from gateway.cli.images import read_image
    from gateway.cli.messages import search_request

    for file in waiting:
        try:
            request = search_request(question.face_set, read_image(file), question.threshold, question.max_results)
            report.answered(file, await client.search(request, question.timeout_seconds))
        except CallFailure as failure:
            report.failed(file, failure)
