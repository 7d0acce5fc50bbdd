"""Reads the chart's `values.yaml` with its comments: for each value its description and what its `@schema` line adds.

A comment belongs to the key right below it. The default says the type; `@schema` (JSON) says the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MARK = "# @schema "


@dataclass(frozen=True)
class Value:
    """A value: its path, default, description, what `@schema` adds, and the values inside it that have comments."""

    path: tuple[str, ...]
    default: Any
    description: str
    extra: dict[str, Any]
    inner: tuple[Value, ...] = field(default=())

    @property
    def name(self) -> str:
        """The dotted path."""
        return ".".join(self.path)

    def leaves(self) -> Iterator[Value]:
        """This value, or those inside it, down to the ones without any inside."""
        if not self.inner:
            yield self
        for value in self.inner:
            yield from value.leaves()


class Undescribed(Exception):
    """A value without a comment; the message names it."""


def read_values(file: Path) -> tuple[Value, ...]:
    """Every value of `file`. Raises `Undescribed`."""
    text = file.read_text("utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    return tuple(_inside(root, (), text.splitlines(), yaml.safe_load(text)))


def _inside(node: yaml.MappingNode, above: tuple[str, ...], lines: list[str], defaults: Any) -> Iterator[Value]:
    for key, value in node.value:
        path = (*above, key.value)
        description, extra = _comment(lines, key.start_mark.line)
        if not description:
            raise Undescribed(f"{'.'.join(path)} has no comment")
        default = defaults[key.value]
        # What a caller of the chart may fill freely is one value, however much its default holds.
        free = "additionalProperties" in extra or "items" in extra
        nested = isinstance(value, yaml.MappingNode) and value.value and not free
        inner = tuple(_inside(value, path, lines, default)) if nested else ()
        yield Value(path, default, description, extra, inner)


def _comment(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    words: list[str] = []
    extra: dict[str, Any] = {}
    while line > 0 and (text := lines[line - 1].strip()).startswith("#"):
        if text.startswith(MARK):
            extra = json.loads(text.removeprefix(MARK))
        else:
            words.insert(0, text.lstrip("# "))
        line -= 1
    return " ".join(words), extra
