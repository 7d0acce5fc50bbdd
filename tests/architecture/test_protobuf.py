"""Rules of the protobuf contract that buf does not check."""

from __future__ import annotations

from collections.abc import Iterator

from google.api.field_behavior_pb2 import field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.rpc.services import SERVICES


def fields_of(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    """The fields of `message` and of the messages of ours in them."""
    if message.full_name in seen or not message.full_name.startswith("facegate."):
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None:
            yield from fields_of(field.message_type, seen)


def test_every_request_field_says_whether_it_is_needed() -> None:
    """`google.api.field_behavior` stands on each, so that generated documentation and clients can tell."""
    seen: set[str] = set()
    methods = [method for service in SERVICES for method in service.methods]
    fields = [field for method in methods for field in fields_of(method.input_type, seen)]
    assert len(fields) > 20
    assert [field.full_name for field in fields if not field.GetOptions().Extensions[field_behavior]] == []
