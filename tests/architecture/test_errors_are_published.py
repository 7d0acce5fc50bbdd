"""The domain's errors and the published protobuf enum are one list."""

from __future__ import annotations

import re
from collections.abc import Iterator

from facegate.search.v1 import error_reason_pb2

from gateway import errors
from gateway.errors import GatewayError, Reason
from tests.support.tools import ROOT

PREFIX = "ERROR_REASON_"


def _tree(base: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child)


def test_every_reason_is_published_and_every_published_reason_is_known() -> None:
    """`Reason` and `ErrorReason` hold the same names, save the enum's prefix and its unspecified 0."""
    published = set(error_reason_pb2.ErrorReason.keys()) - {f"{PREFIX}UNSPECIFIED"}
    assert {name.removeprefix(PREFIX) for name in published} == {reason.value for reason in Reason}


def test_every_reason_belongs_to_exactly_one_class_of_error() -> None:
    """A reason tells one condition: no two classes share one, and none is without a class.

    Classes that only group others inherit GATEWAY_ERROR's and are never raised themselves.
    """
    own = [cls.__dict__["reason"] for cls in _tree() if "reason" in cls.__dict__]
    assert sorted(own) == sorted(Reason)


def test_every_error_has_its_own_text_for_callers() -> None:
    """A caller who reads only the message can tell the conditions apart."""
    texts = [cls.default_message for cls in _tree() if "reason" in cls.__dict__]
    assert len(set(texts)) == len(texts)


def test_every_published_reason_names_its_status_first() -> None:
    """Each reason's comment in the proto starts with the gRPC status that it comes with."""
    text = (ROOT / "proto/facegate/search/v1/error_reason.proto").read_text("utf-8")
    named = set(re.findall(r"  // [A-Z_]+[:,][^\n]*\n(?:  //[^\n]*\n)*  ERROR_REASON_(\w+) = \d+;", text))
    assert named == {reason.value for reason in Reason}
