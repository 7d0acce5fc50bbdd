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
        raise ConfigError((_located(error),)) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # PyYAML's constructors raise these for scalars such as the date 2026-02-31 or `!!bool maybe`.
        raise ConfigError(("a value cannot be read as YAML: put quotes around it",)) from None


def _located(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or "it holds characters that YAML does not allow")
    problem = problem if problem.isprintable() else ascii(problem)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{where}{problem}"
