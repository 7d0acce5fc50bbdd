"""Reads YAML text into plain values, strictly: a bad document is a list of problems, never an accident.

Refused: duplicate keys, keys that are not text, more than one document, tags other than those of plain scalars, and
documents that are too deep or too large for any honest configuration.
"""

from __future__ import annotations

from typing import Any

import yaml

from gateway.config.composing import Composed, compose
from gateway.config.problems import ConfigError
from gateway.pace import Pause, without_pause

MAX_CHARACTERS = 16 * 1024 * 1024
SMALLER = "split the tenants over several gateways, or write what they share once and refer to it by aliases"

# What people most often mean by text of which the parser says only what it expected.
_HINTS = {
    "mapping values are not allowed": ": correct the indentation, or put text that holds a colon and a space in quotes, "
    'such as `issuer: "a: b"`',
    "found character that cannot start": ': put the value in quotes, such as `"@staff"`',
    "could not find expected ':'": ": write `key: value`, such as `listen: 127.0.0.1:50051`",
    "did not find expected key": ": the keys of a mapping begin in the same column",
    "did not find expected '-' indicator": ": the entries of a list begin in the same column, such as `- id: kyc`",
    "did not find expected ',' or": ": close the bracket, such as `[a, b]` or `{a: b}`",
    "found unexpected end of stream": ": close the quotes",
}


def read_document(text: str) -> Any:
    """The plain values of the one YAML document in `text`; None if it is empty. Raises `ConfigError`."""
    return read_composed(text, without_pause).value


def read_composed(text: str, pause: Pause, listed: str = "") -> Composed:
    """The same with what `Composed` says of the text. Raises `ConfigError`."""
    if len(text) > MAX_CHARACTERS:
        raise ConfigError((f"the document is larger than {MAX_CHARACTERS} characters: {SMALLER}",))
    try:
        return compose(text, pause, listed)
    except yaml.YAMLError as error:
        raise ConfigError((_located(error, text),)) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # PyYAML's constructors raise these for scalars such as the date 2026-02-31 or `!!bool maybe`.
        raise ConfigError(("a value cannot be read as YAML: put quotes around it",)) from None


def _located(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or "it holds characters that YAML does not allow")
    problem = problem if problem.isprintable() else ascii(problem)
    if mark is None:
        return problem
    if _is_tab(text, mark.line, mark.column):
        problem = "a tab cannot indent: write spaces, such as two in front of `listen:` under `server:`"
    hint = next((hint for beginning, hint in _HINTS.items() if problem.startswith(beginning)), "")
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{hint}"


def _is_tab(text: str, line: int, column: int) -> bool:
    """Whether the parser stopped at a tab, or in the blank that one is part of."""
    lines = text.split("\n", line + 1)
    before = lines[line][: column + 1] if line < len(lines) else ""
    return "\t" in before and not before.strip()
