"""Reads a file with thousands of tenants again at the cost of those that changed.

Scanning YAML is most of the work of a reload. The text of an entry under `tenants:` means the same wherever it stands,
as long as the file has no anchors, aliases or directives. So each run of entries whose text is known from the last
reading is replaced by one empty entry, and only the rest is read. The parser then says on which lines entries begin and
where the list ends: if those are the lines at which the text was cut, the pieces are what they were taken for. Otherwise
the whole file is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gateway.config.composing import Composed
from gateway.config.document import read_composed
from gateway.config.problems import ConfigError
from gateway.config.tenants import TenantConfig
from gateway.pace import Pause

KnownEntries = Mapping[str, TenantConfig]

LISTED = "tenants"

_HEADER = re.compile(r"tenants:[ ]*(?:#.*)?\n")
_FIRST = re.compile(r"(?:[ ]*(?:#.*)?\n)*([ ]*)- ")
_ENTRIES_PER_PAUSE = 64


@dataclass(frozen=True, slots=True)
class Entries:
    """A file's text in pieces: what is before the tenants, the text of each, and what follows them."""

    head: str
    texts: list[str]
    tail: str
    indent: str

    @property
    def lines(self) -> tuple[int, ...]:
        """The lines, from 0, on which the entries begin, and the first one of the tail."""
        return tuple(accumulate((text.count("\n") for text in self.texts), initial=self.head.count("\n")))


@dataclass(frozen=True, slots=True)
class Reading:
    """A document's plain values, and the text of each of its tenants; without texts if they cannot be told apart."""

    value: Any
    texts: list[str]


def read_entries(text: str, known: KnownEntries, pause: Pause) -> Reading:
    """What `read_document` gives, with `TenantConfig` in place of each tenant in `known`. Raises `ConfigError`."""
    entries = split(text, pause)
    if entries is not None and known:
        value = _read_changed(entries, known, pause)
        if value is not None:
            return Reading(value, entries.texts)
    read = read_composed(text, pause, LISTED)
    return Reading(read.value, entries.texts if entries is not None and _is_cut_right(entries, read) else [])


def split(text: str, pause: Pause) -> Entries | None:
    """Cuts the text before what looks like an entry of the list under `tenants:`; None if there is no such list."""
    if not text.endswith("\n"):
        text += "\n"
    # A search for a plain string takes a tenth of the time of one with a pattern.
    at = 0 if text.startswith("tenants:") else text.find("\ntenants:") + 1
    header = _HEADER.match(text, at)
    first = _FIRST.match(text, header.end()) if header is not None else None
    if header is None or first is None:
        return None
    indent = first[1]
    # An entry's first line; or the first line that is neither deeper, nor blank, nor a comment, where the list ends.
    boundary = re.compile(rf"^(?:{indent}(-) |(?!{indent} )(?![ ]*(?:#|$)))", re.MULTILINE)
    cuts, end = [], len(text)
    for found in boundary.finditer(text, header.end()):
        if found[1] is None:
            end = found.start()
            break
        cuts.append(found.start())
        if len(cuts) % _ENTRIES_PER_PAUSE == 0:
            pause()
    texts = [text[start:stop] for start, stop in zip(cuts, [*cuts[1:], end], strict=True)]
    return Entries(text[: cuts[0]], texts, text[end:], indent)


def _read_changed(entries: Entries, known: KnownEntries, pause: Pause) -> Any:
    """The document's values, read without what is known; None if that is not possible."""
    empty = f"{entries.indent}- {{}}\n"
    texts, tenants = list[str](), list[TenantConfig | None]()
    for text in entries.texts:
        tenants.append(known.get(text))
        if tenants[-1] is None:
            texts.append(text)
        elif not texts or texts[-1] is not empty:
            texts.append(empty)
        if len(tenants) % _ENTRIES_PER_PAUSE == 0:
            pause()
    shorter = Entries(entries.head, texts, entries.tail, entries.indent)
    try:
        read = read_composed("".join((shorter.head, *texts, shorter.tail)), pause, LISTED)
    except ConfigError:
        # The whole file is read for the right line numbers.
        return None
    if not _is_cut_right(shorter, read):
        return None
    changed = (value for text, value in zip(texts, read.value[LISTED], strict=True) if text is not empty)
    read.value[LISTED] = [next(changed) if tenant is None else tenant for tenant in tenants]
    return read.value


def _is_cut_right(entries: Entries, read: Composed) -> bool:
    return read.stands_alone and read.lines == entries.lines
