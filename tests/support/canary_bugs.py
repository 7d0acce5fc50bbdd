"""Bugs of every kind, each with all that there is to know in the text of its exception, on a stage full of canaries."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from facegate.search.v1 import face_search_service_pb2 as pb

from gateway.secret import Secret
from gateway.telemetry.logging import tell
from tests.support import canaries
from tests.support.canaries import API_SECRET, BUG_TEXT, OTHER_PHOTO, PHOTO, TOKEN, UPSTREAM_NAME, VENDOR_TEXT
from tests.support.canary_calls import OK, search
from tests.support.canary_stage import Stage


def known() -> str:
    """The text of a bug's exception: all that there is to know."""
    # Not the whole image: gRPC would not send an error of that length, and hide that it tells too much.
    image = PHOTO[len(PHOTO) // 3 :][: canaries.PIECE_BYTES]
    return f"{BUG_TEXT} {API_SECRET} {TOKEN} {UPSTREAM_NAME} {VENDOR_TEXT} {canaries.PERSON_ID} {image!r}"


def crash(*_: object, **__: object) -> Any:
    """Fails with it, and keeps it in a local variable."""
    told = known()
    raise RuntimeError(told)


def careless(_: object, query: object, credential: object, trip: object = None) -> Any:
    """Logs what no one may log, in every way that a hurried change could."""
    log: Any = structlog.get_logger("careless")
    log.error("upstream.failed", image=PHOTO.hex(), secret=API_SECRET)
    tell({"time": datetime.now(UTC), "level": "error", "event": "upstream.failed", "token": TOKEN})
    log.error("upstream.failed", problem=f"{Secret(API_SECRET)} {credential}")
    log.error("upstream.failed", problem=repr(query))
    log.error("upstream.failed", problem=RuntimeError(known()), why=[OTHER_PHOTO, {"text": VENDOR_TEXT}])
    log.error(f"upstream failed: {known()}")  # noqa: G004 - the careless way
    try:
        crash()
    except RuntimeError:
        log.exception("upstream.failed")
        log.error("upstream.failed", exc_info=True)  # noqa: G201 - the careless way
        logging.getLogger("asyncio").exception("%s", known())
        raise


# A bug at each step of a call.
PLACES: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("gateway.auth.authenticator.Authenticator.authenticate", crash),
    ("gateway.rpc.codec.decode_search", crash),
    ("gateway.search.resolve_face_set", crash),
    ("gateway.quota.gate.QuotaGate.admit", crash),
    ("gateway.cache.results.ResultCache.key", crash),
    ("gateway.cache.results.ResultCache.store", crash),
    ("gateway.upstream.attempt.Attempt._ask", crash),
    ("gateway.upstream.attempt.Attempt._ask", careless),
    ("gateway.rpc.codec.encode_answer", crash),
)


async def bugs(stage: Stage) -> None:
    """In a call, outside of any call, in a library, in a thread, in a task that nobody waits for."""
    stage.answer = OK
    for place, bug in PLACES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, bug)
            # A token that nobody remembers, and a search that no cache answers.
            token = TOKEN + "y" if place.endswith(".authenticate") else TOKEN
            mode = pb.CACHE_MODE_REFRESH if place.endswith((".store", "._ask")) else pb.CACHE_MODE_READ_WRITE
            ended = await stage.end(search(stage, token, mode))
            assert ended in {"INTERNAL", "UNKNOWN"}, (place, ended)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.ops.status.StatusReport.__call__", crash)
        patch.setattr("gateway.ops.rendered.exposition", crash)
        for path in ("/status.json", "/metrics"):
            stage.told.append(await stage.broken_page(path))
    for name in ("aiohttp", "grpc", "httpx", "redis", "opentelemetry.sdk"):
        logging.getLogger(name).error("%s", known())
    task = asyncio.create_task(crash_later())
    await asyncio.wait([task])
    del task
    gc.collect()
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    try:
        crash()
    except RuntimeError as error:
        # What Python calls where an exception has nowhere left to go.
        told: Any = (type(error), error, error.__traceback__)
        sys.excepthook(*told)
    crash_in_a_finalizer()
    # A file with more in it than a secret. It takes the other's place in one step: a look of the gateway's own, at any
    # moment, would find a file that is still being written empty, and report that.
    new = stage.folder / "secret.new"
    await asyncio.to_thread(new.write_text, f"{API_SECRET}\n{BUG_TEXT}\0")
    new.replace(stage.folder / "secret")
    async with asyncio.timeout(30):
        while not stage.watcher.problems():
            await stage.watcher.poll()


async def crash_later() -> None:
    """In a task that nobody waits for."""
    crash()


class _Dying:
    def __del__(self) -> None:
        crash()


def crash_in_a_finalizer() -> None:
    """Where no exception can be raised."""
    dying = _Dying()
    del dying
    gc.collect()
