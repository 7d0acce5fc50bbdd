"""From the YAML parser's events to plain values, in one pass.

PyYAML's own way makes a tree of nodes first and takes four times as long, most of it in the garbage collector. This one
also counts as it goes: a document that is too deep or too large is refused at the event that makes it so, and no
recursion follows the document's depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from gateway.config.problems import ConfigError, shown_key
from gateway.pace import Pause

MAX_DEPTH = 32
MAX_VALUES = 1_000_000
MAX_NESTED_PROBLEMS = 20

# A longer plain scalar is text: no number that a setting takes is as long, and some of YAML's number forms take time
# that grows with the square of their length.
_MAX_RESOLVED_CHARACTERS = 64
_EVENTS_PER_PAUSE = 128
_REMEMBERED_SCALARS = 4096
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "timestamp"))
_COLLECTION_TAGS: dict[type, str] = {yaml.MappingStartEvent: f"{_TAG}map", yaml.SequenceStartEvent: f"{_TAG}seq"}

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPEN = object()
_NO_KEY = object()
_MERGE = object()


@dataclass(frozen=True, slots=True)
class Composed:
    """A document's plain values; None if it is empty.

    `stands_alone` says that it has neither anchors nor directives, so that each part of its text means the same wherever
    it stands. `lines` are those, from 0, on which the entries of the list under the top-level key `listed` begin, and
    the line after the list; empty if an entry is no mapping and no list.
    """

    value: Any
    stands_alone: bool = True
    lines: tuple[int, ...] = ()


def compose(text: str, pause: Pause, listed: str = "") -> Composed:
    """Reads the one document in `text`. Raises `ConfigError`, or what PyYAML raises for text that is no YAML."""
    parser = _Loader(text)
    composer = _Composer(parser, pause, listed)
    parser.get_event()
    start = parser.get_event()
    if isinstance(start, yaml.StreamEndEvent):
        return Composed(None)
    value = composer.compose()
    parser.get_event()
    following = parser.get_event()
    if not isinstance(following, yaml.StreamEndEvent):
        raise _problem(following, "a second document begins: keep one, such as by removing this `---` line")
    if composer.problems:
        raise ConfigError(tuple(composer.problems))
    stands_alone = not composer.anchors and start.tags is None and start.version is None
    return Composed(value, stands_alone, tuple(composer.lines))


class _Frame:
    """A mapping or a list that is being read. `key` is where its next value goes; `before` counts values before it."""

    __slots__ = ("anchor", "before", "key", "merged", "value")

    def __init__(self, value: dict[Any, Any] | list[Any], anchor: str | None, before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before
        self.key: Any = _NO_KEY
        self.merged: list[Any] = []

    def put(self, value: Any) -> None:
        """Adds the next value."""
        if type(self.value) is list:
            self.value.append(value)
            return
        if self.key is _MERGE:
            self.merged.append(value)
        else:
            self.value[self.key] = value
        self.key = _NO_KEY


class _Composer:
    def __init__(self, parser: Any, pause: Pause, listed: str) -> None:
        self.problems: list[str] = []
        self.lines: list[int] = []
        self._listed = listed
        self._parser = parser
        self._pause = pause
        self._frames: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self._scalars: dict[str, Any] = {}
        self._count = 0
        self._aliased = False

    def compose(self) -> Any:
        """Reads one node with all that is in it."""
        get_event, frames, events = self._parser.get_event, self._frames, 0
        while True:
            event = get_event()
            kind = type(event)
            events += 1
            if events % _EVENTS_PER_PAUSE == 0:
                self._pause()
            if kind is yaml.ScalarEvent:
                if frames and frames[-1].key is _NO_KEY and type(frames[-1].value) is dict:
                    self._take_key(frames[-1], event)
                    continue
                value = self._counted_scalar(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                value = self._ended(frames.pop(), event)
            elif kind is yaml.AliasEvent:
                value = self._alias(event)
            else:
                self._begin(event, kind)
                continue
            if not frames:
                return value
            frames[-1].put(value)

    def _begin(self, event: Any, kind: type) -> None:
        self._refuse_as_key(event)
        if event.tag not in (None, "!", _COLLECTION_TAGS[kind]):
            raise _problem(event, "could not determine a constructor for its tag: remove the tag")
        if len(self._frames) >= MAX_DEPTH:
            raise ConfigError((f"the document is nested deeper than {MAX_DEPTH} levels",))
        self._counted(event, 1)
        if event.anchor is not None:
            self._anchor(event, _OPEN, 0)
        if len(self._frames) == 2 and self._frames[0].key == self._listed:
            self.lines.append(event.start_mark.line)
        self._frames.append(_Frame({} if kind is yaml.MappingStartEvent else [], event.anchor, self._count - 1))

    def _ended(self, frame: _Frame, event: Any) -> Any:
        value = frame.value
        if len(self._frames) == 1 and self._frames[0].key == self._listed:
            self.lines.append(event.start_mark.line)
        if frame.merged:
            # What a mapping says itself takes precedence; among merged ones the last `<<`, in a list the first entry.
            merged: dict[Any, Any] = {}
            for source in frame.merged:
                for mapping in reversed(source) if isinstance(source, list) else (source,):
                    if not isinstance(mapping, dict):
                        raise _problem(event, "<< takes a mapping or a list of mappings")
                    merged.update(mapping)
            value = {**merged, **value}  # type: ignore[dict-item]  # a list has no keys, so none that merge
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (value, self._count - frame.before)
        return value

    def _take_key(self, frame: _Frame, event: Any) -> None:
        text = event.value
        plain = event.tag is None and event.implicit[0]
        if plain and text == "<<":
            frame.key = _MERGE
            return
        if text in frame.value:
            raise _problem(event, f"the key {shown_key(text)} comes twice: keep one")
        key = self._scalar(event)
        if not isinstance(key, str):
            if len(self.problems) < MAX_NESTED_PROBLEMS:
                self.problems.append(f"{self._path()}{shown_key(str(key))}: a key must be text: put it in quotes")
            key = text
        if event.anchor is not None:
            self._anchor(event, key, 1)
        frame.key = key

    def _path(self) -> str:
        """The dotted path of the mapping that is being read, with a dot at its end."""
        parts = (len(frame.value) if isinstance(frame.value, list) else frame.key for frame in self._frames[:-1])
        return "".join(f"{part}." for part in parts)

    def _refuse_as_key(self, event: Any) -> None:
        if self._frames and self._frames[-1].key is _NO_KEY and isinstance(self._frames[-1].value, dict):
            raise _problem(event, "a key must be text")

    def _anchor(self, event: Any, value: Any, size: int) -> None:
        if event.anchor in self.anchors:
            raise _problem(event, "an anchor comes twice: rename one")
        self.anchors[event.anchor] = (value, size)

    def _alias(self, event: Any) -> Any:
        self._refuse_as_key(event)
        if event.anchor not in self.anchors:
            raise _problem(
                event, "an alias names an anchor that is not there: put quotes around text that begins with *"
            )
        value, size = self.anchors[event.anchor]
        self._aliased = True
        self._counted(event, MAX_VALUES if value is _OPEN else size)
        return value

    def _counted(self, event: Any, size: int) -> None:
        """Counts values as a reader without aliases would find them."""
        self._count += size
        if self._count > MAX_VALUES:
            if self._aliased:
                raise ConfigError(("the document's aliases make it endless or too large: write the values out",))
            raise _problem(event, f"the document holds more than {MAX_VALUES} values")

    def _counted_scalar(self, event: Any) -> Any:
        value = self._scalar(event)
        self._counted(event, 1)
        if event.anchor is not None:
            self._anchor(event, value, 1)
        return value

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        is_plain = tag is None or tag == "!"
        if is_plain:
            if not event.implicit[0] or len(text) > _MAX_RESOLVED_CHARACTERS:
                return text
            resolvers = _Loader.yaml_implicit_resolvers.get(text[:1])
            if resolvers is None:
                return text
            if text in self._scalars:
                return self._scalars[text]
            tag = next((found for found, pattern in resolvers if pattern.match(text)), None)
            if tag is None:
                return text
        elif tag == f"{_TAG}str":
            return text
        if tag not in _SCALAR_TAGS or len(text) > _MAX_RESOLVED_CHARACTERS:
            raise _problem(event, "could not determine a constructor for its tag: put quotes around it")
        node = yaml.ScalarNode(tag, text, event.start_mark, event.end_mark)
        value = _Loader.yaml_constructors[tag](self._parser, node)
        if is_plain and len(self._scalars) < _REMEMBERED_SCALARS:
            self._scalars[text] = value
        return value


def _problem(event: Any, text: str) -> ConfigError:
    mark = event.start_mark
    return ConfigError((f"line {mark.line + 1}, column {mark.column + 1}: {text}",))
