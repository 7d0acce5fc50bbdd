"""Reads a file with thousands of tenants again at the cost of those that changed.

Scanning YAML is most of the work of a reload. The text of an entry under `tenants:` means the same wherever it stands,
as long as the file has no anchors, aliases or directives. So each run of entries whose text is known from the last
reading is replaced by one blank entry, and only the rest is read. That is the same as reading the whole file: if each
blank entry comes back at its place, then every entry begins and ends where the text was cut. Otherwise the whole file is
read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config.document import read_with_facts
from gateway.config.problems import ConfigError
from gateway.config.tenants import TenantConfig
from gateway.pace import Pause

KnownEntries = Mapping[str, TenantConfig]

_HEADER = re.compile(r"^tenants:[ ]*(?:#.*)?\n", re.MULTILINE)
_FIRST = re.compile(r"(?:[ ]*(?:#.*)?\n)*([ ]*)- ")
_ENTRIES_PER_PAUSE = 64


@dataclass(frozen=True, slots=True)
class Entries:
    """A file's text in pieces: what is before the tenants, the text of each, and what follows them."""

    head: str
    texts: tuple[str, ...]
    tail: str
    indent: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A document's plain values. `entries` are the texts of its tenants; None if they do not stand for themselves."""

    value: Any
    entries: Entries | None


def read_entries(text: str, known: KnownEntries, pause: Pause) -> Reading:
    """What `read_document` gives, with `TenantConfig` in place of each tenant in `known`. Raises `ConfigError`."""
    entries = split(text, pause)
    if entries is not None and known:
        value = _read_changed(entries, known, pause)
        if value is not None:
            return Reading(value, entries)
    value, stands_alone = read_with_facts(text, pause)
    return Reading(value, entries if stands_alone else None)


def split(text: str, pause: Pause) -> Entries | None:
    """Cuts the text before each entry of the list under `tenants:`; None if it has no such list in block style."""
    headers = list(_HEADER.finditer(text))
    first = _FIRST.match(text, headers[0].end()) if len(headers) == 1 else None
    if first is None:
        return None
    indent = first[1]
    # An entry's first line; or the first line that is neither deeper, nor blank, nor a comment, where the list ends.
    boundary = re.compile(rf"^(?:{indent}(-) |(?!{indent} )(?![ ]*(?:#|$)))", re.MULTILINE)
    cuts, end = [], len(text)
    for found in boundary.finditer(text, headers[0].end()):
        if found[1] is None:
            end = found.start()
            break
        cuts.append(found.start())
        if len(cuts) % _ENTRIES_PER_PAUSE == 0:
            pause()
    texts = tuple(text[start:stop] for start, stop in zip(cuts, [*cuts[1:], end], strict=True))
    if not texts[-1].endswith("\n"):
        texts = (*texts[:-1], f"{texts[-1]}\n")
    return Entries(text[: cuts[0]], texts, text[end:], indent)


def _read_changed(entries: Entries, known: KnownEntries, pause: Pause) -> Any:
    """The document's values, read without what is known; None if that is not possible."""
    blank = f"{entries.indent}- ~\n"
    pieces, whole = [entries.head], list[TenantConfig | None]()
    for text in entries.texts:
        whole.append(known.get(text))
        if whole[-1] is None:
            pieces.append(text)
        elif pieces[-1] is not blank:
            pieces.append(blank)
        if len(whole) % _ENTRIES_PER_PAUSE == 0:
            pause()
    pieces.append(entries.tail)
    try:
        value, stands_alone = read_with_facts("".join(pieces), pause)
    except ConfigError:
        # The whole file is read for the right line numbers.
        return None
    read = value.get("tenants") if isinstance(value, dict) else None
    if not stands_alone or not isinstance(read, list) or len(read) != len(pieces) - 2:
        return None
    if any((piece is blank) > (item is None) for piece, item in zip(pieces[1:-1], read, strict=True)):
        return None
    changed = (item for piece, item in zip(pieces[1:-1], read, strict=True) if piece is not blank)
    value["tenants"] = [next(changed) if tenant is None else tenant for tenant in whole]
    return value
