"""A secret cannot be printed, formatted, copied out, serialized or logged."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import traceback
from collections.abc import Callable

import orjson
import pytest
import structlog

from gateway.secret import Secret
from gateway.upstream.credentials import Credential

CANARY = "canary-secret-0815"


def logged(value: object) -> str:
    """What structlog's JSON renderer makes of a value."""
    sink = io.StringIO()
    logger = structlog.wrap_logger(structlog.PrintLogger(sink), processors=[structlog.processors.JSONRenderer()])
    logger.info("event", value=value)
    return sink.getvalue()


def traced(value: object) -> str:
    """A traceback with local variables, as error reporters print it."""
    try:
        raise RuntimeError
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def recorded(value: object) -> str:
    """What the standard library's logging makes of it."""
    return logging.LogRecord("x", 20, "x", 1, "%s %r", (value, value), None).getMessage()


WRITERS: list[Callable[[object], str]] = [
    str,
    repr,
    ascii,
    "{}".format,
    "{!r:>40}".format,
    lambda value: f"{value}",
    lambda value: "%s" % (value,),  # noqa: UP031
    pprint.pformat,
    lambda value: json.dumps(value, default=str),
    lambda value: json.dumps([value], default=repr),
    lambda value: orjson.dumps(value, default=str).decode(),
    lambda value: repr([value, {1: value}]),
    lambda value: repr(copy.copy(value)),
    lambda value: repr(copy.deepcopy(value)),
    logged,
    traced,
    recorded,
]


@pytest.mark.parametrize("write", WRITERS)
def test_nothing_prints_it(write: Callable[[object], str]) -> None:
    """Every way of turning it into text gives the same placeholder; so it is in a credential."""
    assert CANARY not in write(Secret(CANARY))
    assert CANARY not in write([Credential("primary", Secret(CANARY), Secret(CANARY))])


def test_a_format_is_ignored() -> None:
    """A width or a precision shows no part of it."""
    assert f"{Secret(CANARY):.3}" == f"{Secret(CANARY):>40}" == str(Secret(CANARY))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_cannot_be_pickled(protocol: int) -> None:
    """No protocol writes it."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY), protocol)
    with pytest.raises(TypeError):
        pickle.dumps(Credential("primary", Secret(CANARY), Secret(CANARY)), protocol)


def test_it_has_no_state_to_take() -> None:
    """Neither `vars` nor the copy protocol gives its value, and it cannot be changed."""
    secret = Secret(CANARY)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(TypeError):
        secret.__getstate__()
    with pytest.raises(AttributeError):
        secret._value = "x"
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_credential_as_a_dictionary() -> None:
    """`dataclasses.asdict` copies deeply, and still shows nothing."""
    assert CANARY not in repr(dataclasses.asdict(Credential("primary", Secret(CANARY), Secret(CANARY))))


def test_equality() -> None:
    """Secrets with the same value are equal, to nothing else."""
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("other")
    assert Secret(CANARY) != CANARY


def test_it_is_revealed_when_asked() -> None:
    """The one way to it."""
    assert Secret(CANARY).reveal() == CANARY
