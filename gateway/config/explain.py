"""Turns what pydantic found into one line a problem, for a person with the file open in an editor."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.problems import MAX_SHOWN_KEY, shown

# Text is shown only where it stands for a number, a switch or one of a few words: everywhere else it may be a secret
# that was written into the wrong place.
_SHOWS_TEXT = frozenset({"int_type", "int_from_float", "float_type", "finite_number", "bool_type", "literal_error"})
_SECRET = re.compile(r"secret|token|password|key|credential|api_id|auth|face_sets|principals|url|stores", re.IGNORECASE)
_SPEAKING_KEY = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_LONGEST_WORD = 20

_SHAPES = frozenset({"tuple_type", "dict_type", "model_type", "model_attributes_type"})
_EXPECTED = {
    "string_type": "must be text in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "path_type": "must be the path of a file",
    "path_not_a_string": "must be the path of a file",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping of settings",
    "model_attributes_type": "must be a mapping of settings",
}


def explain(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str]:
    """The dotted key and the text of one problem."""
    location = tuple(part for part in error["loc"] if part != "[key]")
    context = error.get("ctx", {})
    if error["type"] == "rule":
        return dotted((*location, context["key"]) if context["key"] else location), str(context["text"])
    key = dotted(location)
    if error["type"] == "extra_forbidden":
        return key, _unknown(location, model)
    if error["type"] == "missing":
        return key, "is required"
    expected = _expected(error, context)
    shows = expected.startswith("must be ") and "[key]" not in error["loc"]
    got = _got(error["type"], location, error["input"]) if shows else ""
    return key, expected + got + (_such_as(error["type"], location, model) if got or shows else "")


def _such_as(kind: str, location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """How the setting is written, for a value of another shape than it has."""
    from gateway.config.examples import example  # only a configuration that is refused needs it

    if kind == "string_type":
        return ', such as "2024"'
    if kind not in _SHAPES:
        return ""
    text = example(location, model)
    return f", such as `{text}`" if text else ""


def dotted(location: tuple[str | int, ...]) -> str:
    """A location as operators write it; a key that would not print well is escaped, and one that is too long left out."""
    return ".".join(p if _SPEAKING_KEY.fullmatch(p) else _odd(p) for p in map(str, location)) or "the document"


def _odd(key: str) -> str:
    return shown(key) if len(key) <= MAX_SHOWN_KEY else f"(a key of {len(key)} characters)"


def _expected(error: ErrorDetails, context: dict[str, Any]) -> str:
    match error["type"]:
        case "value_error":
            text = str(context["error"])
        case "literal_error":
            text = f"must be one of {context['expected'].replace(' or ', ', ')}"
        case "greater_than_equal":
            text = f"must be {_number(context['ge'])} or more"
        case "greater_than":
            text = f"must be more than {_number(context['gt'])}"
        case "less_than_equal":
            text = f"must be {_number(context['le'])} or less"
        case "too_long":
            text = f"must have at most {context['max_length']} entries"
        case kind:
            text = _EXPECTED.get(kind, "is not valid here")
    return text


def _got(kind: str, location: tuple[str | int, ...], value: Any) -> str:
    """The offending value, unless it could be a secret."""
    if any(_SECRET.search(part) for part in location if isinstance(part, str)):
        return ""
    if isinstance(value, str):
        return f", not {shown(value)}" if kind in _SHOWS_TEXT and len(value) <= _LONGEST_WORD else ""
    if isinstance(value, bool):
        return f", not {str(value).lower()}"
    if isinstance(value, int | float):
        return f", not {shown(str(value))[1:-1]}" if abs(value) < 1e300 else ""
    return f", not a {'mapping' if isinstance(value, dict) else 'list'}" if isinstance(value, dict | list) else ""


def _unknown(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Names the known key that comes nearest: beside the unknown one first, then anywhere."""
    known = tuple(known_keys(model))
    parent = ".".join("N" if isinstance(p, int) else p for p in location[:-1])
    prefix = f"{parent}." if parent else ""
    siblings = [k[len(prefix) :] for k in known if k.startswith(prefix) and "." not in k[len(prefix) :]]
    name = str(location[-1]).lower()
    flat = [key for key in known if not prefix and key.replace(".", "_") == name]
    if flat:
        return f'unknown key, did you mean "{flat[0]}"?'
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.5)
    if near:
        return f'unknown key, did you mean "{dotted((*location[:-1], near[0]))}"?'
    elsewhere = [k for k in known if k.rpartition(".")[2] == name]
    far = elsewhere or difflib.get_close_matches(f"{prefix}{name}", known, n=1, cutoff=0.0)
    return f'unknown key, the nearest is "{far[0]}"'


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted path of every setting under `model`; `N` stands for a list's index."""
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        inner, in_list = section_of(field.annotation)
        if inner is not None:
            yield from known_keys(inner, f"{prefix}{name}.N." if in_list else f"{prefix}{name}.")


def section_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that a field holds, if it holds one, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument, getattr(annotation, "__origin__", None) is tuple
    return None, False


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
