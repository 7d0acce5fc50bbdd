"""How each filter between what the gateway knows and what it tells is taken out, and nothing else with it."""

from __future__ import annotations

import logging
import struct
import sys
import traceback
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import structlog
from blake3 import blake3

from gateway.cache import shared
from gateway.cache.key import CacheKey, Keymaker
from gateway.errors import GatewayError, UpstreamBadResponse
from gateway.model import UpstreamQuery
from gateway.ops import status
from gateway.rpc import errors as rpc_errors
from gateway.search import FaceSearch
from gateway.secret import Secret
from gateway.telemetry import allowed
from gateway.telemetry.lines import Queue
from gateway.telemetry.logging import LogOutput, _LibraryMessages
from gateway.telemetry.spans import Spans
from gateway.upstream import credentials, wire

Patch = pytest.MonkeyPatch


def unknown_keys_stay(patch: Patch) -> None:
    original = allowed.AllowList.__call__

    def keep(self: allowed.AllowList, logger: object, method: str, event: dict[str, Any]) -> Any:
        unknown = {key: event.pop(key) for key in event.keys() - allowed.NAMES}
        return original(self, logger, method, event) | unknown

    patch.setattr(allowed.AllowList, "__call__", keep)


def told_events_are_not_looked_at(patch: Patch) -> None:
    def write(self: LogOutput, event: dict[str, Any], _: Queue = Queue.GATEWAY) -> None:
        self._writer.write(orjson.dumps(event) + b"\n")

    patch.setattr(LogOutput, "tell", write)


def library_messages_are_written(patch: Patch) -> None:
    def emit(_: object, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)  # noqa: T201 - as logging's own handler does

    patch.setattr(_LibraryMessages, "emit", emit)


def exceptions_reach_grpc(patch: Patch) -> None:
    original = rpc_errors.AnswerErrors.answer

    async def answer(self: Any, error: BaseException, call: Any) -> BaseException:
        return await original(self, error, call) if isinstance(error, GatewayError) else error

    patch.setattr(rpc_errors.AnswerErrors, "answer", answer)


def exceptions_are_rendered(patch: Patch) -> None:
    patch.setattr(allowed, "MAX_TEXT", 10_000)
    processors = [structlog.processors.format_exc_info, *structlog.get_config()["processors"]]
    structlog.configure(processors=processors)


def secrets_print(patch: Patch) -> None:
    for name in ("__str__", "__repr__"):
        patch.setattr(Secret, name, Secret.reveal)
    patch.setattr(Secret, "__format__", lambda self, _: self.reveal())


def searches_print(patch: Patch) -> None:
    patch.setattr(UpstreamQuery, "__repr__", lambda self: self.face_set)


def records_take_matches(patch: Patch) -> None:
    original: Any = FaceSearch.__call__

    async def answer(self: FaceSearch, *given: Any) -> Any:
        answered = await original(self, *given)
        given[3].image_format = ",".join(str(match.person_id) for match in answered.answer.matches)
        return answered

    patch.setattr(FaceSearch, "__call__", answer)


def spans_take_all_of_a_record(patch: Patch) -> None:
    original: Any = Spans.of_call

    def of_call(self: Spans, record: Any, **given: Any) -> Any:
        for span in original(self, record, **given):
            span._attributes |= {name: str(getattr(record, name)) for name in record.__dataclass_fields__}
            yield span

    patch.setattr(Spans, "of_call", of_call)


def vendors_words_are_a_status(patch: Patch) -> None:
    patch.setattr(wire, "by_status", lambda status, *_: UpstreamBadResponse(status))


def vendors_words_are_a_message(patch: Patch) -> None:
    patch.setattr(wire, "by_status", lambda status, *_: UpstreamBadResponse("unknown_status", message=status))


def values_are_not_sealed(patch: Patch) -> None:
    expiry = struct.Struct("<d")
    patch.setattr(shared, "seal", lambda key, address, record, expires: bytes(12) + expiry.pack(expires) + record)
    patch.setattr(shared, "unseal", lambda key, address, value, now: (value[20:], expiry.unpack_from(value, 12)[0]))


def images_are_named_by_a_plain_hash(patch: Patch) -> None:
    def key(self: Keymaker, tenant: str, face_set: str, image: bytes) -> CacheKey:
        return CacheKey(blake3(image).digest(), self.realm(tenant, face_set))

    patch.setattr(Keymaker, "key", key)


def rows_hold_the_tenant(patch: Patch) -> None:
    original = status._row
    patch.setattr(status, "_row", lambda tenant, _: {**original(tenant, _), "face_sets": dict(tenant.face_sets)})


def files_are_quoted(patch: Patch) -> None:
    def checked(_key: str, _where: str, raw: bytes) -> Secret:
        if b"\0" in raw:
            raise credentials.CredentialError(f"{raw!r} is not usable")
        return Secret(raw.decode())

    patch.setattr(credentials, "_checked", checked)


def frames_with_texts(error: BaseException) -> list[str]:
    return traceback.format_exception(error)[-1:]


def attribute(place: object, name: str, value: object) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(place, name, value)
