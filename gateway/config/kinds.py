"""What kind of value a setting holds, by its declaration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def holds_text(path: Sequence[str], annotation: Any) -> bool:
    """Whether the setting at `path` under `annotation`, a section at first, is text and nothing else."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return holds_text(path, arguments[0])
    if origin in (Union, UnionType):
        return all(holds_text(path, kind) for kind in arguments if kind is not NoneType)
    if not path:
        return origin is Literal or annotation in (str, Path)
    if origin in (tuple, dict):
        return holds_text(path[1:], arguments[0 if origin is tuple else 1])
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return False
    field = annotation.model_fields.get(path[0])
    return field is not None and holds_text(path[1:], field.annotation)
