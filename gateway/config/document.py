"""Reads YAML text into plain values, strictly: a bad document is a list of problems, never an accident.

Refused: duplicate keys, keys that are not text, more than one document, tags beyond the plain ones, and documents that
are too deep or too large for any honest configuration (libyaml's composer recurses without a limit and would crash).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from gateway.config.problems import ConfigError

MAX_CHARACTERS = 2 * 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 200_000

_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_BaseLoader):  # type: ignore[misc]  # the base is chosen at run time: libyaml's where it was built in
    """The safe loader, and a key may come once."""

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - PyYAML's signature
    ) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key_node.start_mark)
            if key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {shown(key)} comes twice: keep one",
                    key_node.start_mark,
                )
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def shown(text: str) -> str:
    """`text` on one line, escaped and cut to 60 characters."""
    line = ascii(text) if not text.isprintable() else f'"{text}"'
    return line if len(line) <= 60 else f"{line[:57]}..."


def read_document(text: str) -> Any:
    """The plain values of the one YAML document in `text`; None if it is empty. Raises ConfigError."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError((f"the document is larger than {MAX_CHARACTERS} characters",))
    try:
        _refuse_depth(text)
        value = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError((_located(error),)) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # PyYAML's constructors raise these for scalars such as the date 2026-02-31 or `!!bool maybe`.
        raise ConfigError(("a value cannot be read as YAML: put quotes around it",)) from None
    problems: list[str] = []
    _inspect(value, "", [MAX_VALUES], problems, set())
    if problems:
        raise ConfigError(tuple(problems))
    return value


def _refuse_depth(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError((f"the document is nested deeper than {MAX_DEPTH} levels",))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _inspect(value: Any, path: str, budget: list[int], problems: list[str], above: set[int]) -> None:
    """Finds keys that are not text, and values that aliases made endless."""
    budget[0] -= 1
    if id(value) in above or budget[0] < 0:
        if budget[0] >= -1:
            problems.append("the document's aliases make it endless or too large: write the values out")
            budget[0] = -1
        return
    if isinstance(value, dict):
        above = above | {id(value)}
        for key, item in value.items():
            if not isinstance(key, str):
                problems.append(f"{path}{shown(str(key))}: a key must be text: put it in quotes")
            _inspect(item, f"{path}{key}.", budget, problems, above)
    elif isinstance(value, list):
        above = above | {id(value)}
        for index, item in enumerate(value):
            _inspect(item, f"{path}{index}.", budget, problems, above)


def _located(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or "it holds characters that YAML does not allow")
    problem = problem if problem.isprintable() else ascii(problem)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{where}{problem}"
