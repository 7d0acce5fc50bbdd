"""Answers as the cache keeps them: up to eight per key, newest question first, packed into one string of bytes.

Packed, an answer with one match takes about 100 bytes where the same objects take 600; stores see the bytes alone.
Unpacking goes answer by answer, so that a lookup stops at the first that serves. Which answers stay together in a
record is decided in `merging.py`. Knows nothing of keys, stores or seals.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gateway.model import Match, Outcome, SearchParameters, UpstreamAnswer

_HEAD = struct.Struct("<ddqBBBB")
_MATCH = struct.Struct("<qqdq")
_OUTCOMES = (Outcome.MATCHED, Outcome.NO_MATCH, Outcome.NO_RESULT_REPORTED)
_MAX_REQUEST_ID_BYTES = 255


class Unpackable(Exception):
    """A record that was not written by `pack`, or an answer that it has no room for. Carries no data."""


class Entry(NamedTuple):
    """One answer, its question, and when the question was about to be sent (seconds, by the store's time)."""

    asked_at: float
    asked: SearchParameters
    answer: UpstreamAnswer


def pack(entries: list[Entry]) -> bytes:
    """The entries as bytes, in their order. Raises `Unpackable` for values out of range (an id beyond 64 bits)."""
    parts: list[bytes] = []
    try:
        for entry in entries:
            asked, answer = entry.asked, entry.answer
            request_id = answer.request_id.encode()
            if len(request_id) > _MAX_REQUEST_ID_BYTES:
                request_id = b""
            counts = (asked.max_results, len(answer.matches), _OUTCOMES.index(answer.outcome), len(request_id))
            parts.append(_HEAD.pack(entry.asked_at, asked.threshold, asked.start_time, *counts))
            parts.append(request_id)
            parts += [_MATCH.pack(m.person_id, m.face_id, m.score, m.create_time) for m in answer.matches]
    except (struct.error, UnicodeEncodeError):
        raise Unpackable from None
    return b"".join(parts)


def unpack(record: bytes) -> Iterator[Entry]:
    """The entries of a record, one at a time. Raises `Unpackable` at the first that makes no sense."""
    offset, end = 0, len(record)
    try:
        while offset < end:
            asked_at, threshold, start_time, wanted, count, outcome, id_length = _HEAD.unpack_from(record, offset)
            ids = offset + _HEAD.size
            first = ids + id_length
            offset = first + count * _MATCH.size
            if offset > end:
                raise Unpackable
            rows = _MATCH.iter_unpack(record[first:offset])
            answer = UpstreamAnswer(
                tuple(map(Match._make, rows)), _OUTCOMES[outcome], record[ids:first].decode(), attempts=0
            )
            yield Entry(asked_at, SearchParameters(threshold, wanted, start_time), answer)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise Unpackable from None
