"""Says where in the file a problem is: file, line, and the id of the tenant that a number stands for.

Only when a file is refused, and after the fact: reading keeps no positions, which would cost every reload.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import yaml

from gateway.config.composing import MAX_DEPTH
from gateway.config.problems import ConfigError
from gateway.config.values import TENANT_ID

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_PLACE = re.compile(r"line ([0-9]+), column ([0-9]+): ")
_KEY = re.compile(r"[a-z0-9_]+(?:\.[^:\s]+)*(?=: )")
# Not the key in quotes that is proposed instead.
_TENANT = re.compile(r"\btenants\.([0-9]+)(?:\.[A-Za-z0-9_-]+)*(?![\w.\"-])")


def placed(error: ConfigError, name: str, content: bytes) -> ConfigError:
    """`error` of the file `name` with its `content`: each problem begins with `name:line: `, as editors know it."""
    problems = error.problems
    wanted = {found[0] for problem in problems if (found := _KEY.match(problem))}
    wanted |= {f"tenants.{found[1]}.id" for problem in problems for found in _TENANT.finditer(problem)}
    places = _Places(wanted)
    # What comes before a fault is known all the same.
    with suppress(yaml.YAMLError, ValueError):
        places.read(content.decode())
    return ConfigError(tuple(_placed(problem, name, places) for problem in problems))


def _placed(problem: str, name: str, places: _Places) -> str:
    if found := _YAML_PLACE.match(problem):
        return f"{name}:{found[1]}:{found[2]}: {problem[found.end() :]}"
    key = _KEY.match(problem)
    line = places.line(key[0]) if key is not None else 0
    problem = _TENANT.sub(lambda found: f"{found[0]}{places.tenant(found[1])}", problem)
    if "(set by " in problem:
        return problem
    return f"{name}:{line}: {problem}" if line else f"{name}: {problem}"


class _Level:
    """A mapping or a list on the way to the place that is being read. `path` is None if nothing in it is wanted."""

    __slots__ = ("count", "is_list", "key", "path")

    def __init__(self, path: str | None, *, is_list: bool) -> None:
        self.path = path
        self.is_list = is_list
        self.count = 0
        self.key: str | None = None


class _Places:
    """The lines of the keys in `wanted`, and of what they are in. No recursion follows the document's depth."""

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted = set[str]()
        for key in wanted:
            parts = key.split(".")
            self._wanted.update(".".join(parts[: n + 1]) for n in range(len(parts)))
        self._lines: dict[str, int] = {}
        self._ids: dict[str, str] = {}

    def line(self, key: str) -> int:
        """The line, from 1, of `key` or of the innermost part of the file that it belongs in; 0 if there is none."""
        while key and key not in self._lines:
            key = key.rpartition(".")[0]
        return self._lines.get(key, 0)

    def tenant(self, index: str) -> str:
        """The id of a tenant, to be put behind its number; empty if it has none that could be one."""
        name = self._ids.get(f"tenants.{index}.id", "")
        return f" ({name})" if TENANT_ID.fullmatch(name) else ""

    def read(self, text: str) -> None:
        """Goes through `text`, no deeper than a configuration may be. Raises YAMLError where it ends to be YAML."""
        levels: list[_Level] = []
        for event in yaml.parse(text, _Loader):
            kind = type(event)
            if kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
                levels.pop()
            elif kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent, yaml.ScalarEvent, yaml.AliasEvent):
                path = self._path(levels, event)
                if kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent):
                    if len(levels) == MAX_DEPTH:
                        # The parser itself takes time that grows with the square of the depth.
                        return
                    levels.append(_Level(path, is_list=kind is yaml.SequenceStartEvent))

    def _path(self, levels: list[_Level], event: Any) -> str | None:
        """The path of the value that begins with `event`, if it is wanted; a key is noted and is no value."""
        if not levels:
            return ""
        level = levels[-1]
        if level.is_list:
            part = str(level.count)
            level.count += 1
        elif level.key is None:
            level.key = str(getattr(event, "value", ""))
            self._note(level.path, level.key, event)
            return None
        else:
            part, level.key = level.key, None
        path = self._note(level.path, part, event)
        if path is not None and isinstance(event, yaml.ScalarEvent):
            self._ids[path] = event.value
        return path

    def _note(self, outer: str | None, part: str, event: Any) -> str | None:
        path = None if outer is None else f"{outer}.{part}" if outer else part
        if path not in self._wanted:
            return None
        self._lines.setdefault(path, event.start_mark.line + 1)
        return path
