"""From a YAML file and the environment to a `Config`, or to every problem at once.

Called by the command line and by the watcher that re-reads the file. Reads the files it is told to and nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from gateway.config.document import read_document
from gateway.config.entries import read_entries
from gateway.config.environment import PREFIX, overlay
from gateway.config.explain import dotted, explain, known_keys
from gateway.config.files import file_problems
from gateway.config.kinds import holds_text
from gateway.config.problems import ConfigError
from gateway.config.reading import read_content
from gateway.config.rules import RULES
from gateway.config.schema import Config
from gateway.config.tenants import TenantConfig
from gateway.pace import Pause, without_pause

MAX_PROBLEMS = 200
MAX_BROKEN_TENANTS = 100

_OVERLAID_TENANTS = f"{PREFIX}TENANTS"

Location = tuple[str | int, ...]

# A key within an entry of a list; the group is the entry's.
_ENTRY = re.compile(r"(.*\.[0-9]+)\..*")


def load_config(file: Path | None, environ: Mapping[str, str] | None = None, *, check: bool = True) -> Config:
    """Loads `file` (None: defaults alone), lays `environ` (None: this process's) over it and checks all of it.

    With `check`, the files and variables that it names are looked at too. Raises `ConfigError`, whose problems begin with
    the file's name and the line.
    """
    environ = os.environ if environ is None else environ
    if file is None:
        return _checked(b"", environ, check=check)
    content = read_content(file)
    try:
        return _checked(content, environ, check=check)
    except ConfigError as error:
        from gateway.config.placing import placed  # only a configuration that is refused needs it

        raise placed(error, str(file), content) from None


def _checked(content: bytes, environ: Mapping[str, str], *, check: bool) -> Config:
    config, problems, broken = _load(content, environ, None, without_pause)
    if check:
        # What is broken was taken out of `config`; that it, or a part of a list's entry, is missing now is no problem of
        # its own.
        touched = [_ENTRY.sub(r"\1", key) for key in broken]
        problems += [
            problem
            for problem in file_problems(config, environ)
            if not any(_overlaps(problem.partition(":")[0], key) for key in touched)
        ]
    return _good(config, problems)


def config_of(content: bytes, *, before: Config | None = None, pause: Pause = without_pause) -> Config:
    """The configuration in a file's `content` under this process's environment. Raises `ConfigError`.

    `before` was loaded from the file earlier: tenants whose text has not changed are taken from it. `pause` is called
    between small steps, for a thread that must not hold up the event loop.
    """
    config, problems, _ = _load(content, os.environ, before, pause)
    return _good(config, problems)


def parse_config(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in the YAML `text` under the settings of `environ` (None: none). Raises `ConfigError`."""
    config, problems, _ = _parse(read_document(text), environ or {}, without_pause)
    return _good(config, problems)


@cache
def all_keys() -> frozenset[str]:
    """The dotted paths of all settings."""
    return frozenset(known_keys(Config))


def _load(
    content: bytes, environ: Mapping[str, str], before: Config | None, pause: Pause
) -> tuple[Config, list[str], list[str]]:
    """What `_parse` gives for a file's content; the configuration remembers the text of each of its tenants."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(("the file is not UTF-8 text",)) from None
    reading = read_entries(text, {} if before is None else before.known, pause)
    config, problems, broken = _parse(reading.value, environ, pause)
    # The text of a tenant that a variable changes does not say what the tenant is.
    overlaid = any(name.startswith(_OVERLAID_TENANTS) for name in environ)
    # Blank entries at the list's end are left out of the configuration.
    alike = not (overlaid or problems) and len(reading.texts) == len(config.tenants)
    config.loaded_from(content, dict(zip(reading.texts, config.tenants, strict=True)) if alike else {})
    return config, problems, broken


def _good(config: Config, problems: list[str]) -> Config:
    if problems:
        raise ConfigError(tuple(dict.fromkeys(problems)))
    return config


def _parse(document: Any, environ: Mapping[str, str], pause: Pause) -> tuple[Config, list[str], list[str]]:
    """The configuration without what is broken in it, a line for each problem, and the keys of what is broken."""
    if document is not None and not isinstance(document, dict):
        raise ConfigError(("the document must be a mapping of settings, such as `server: {listen: 127.0.0.1:50051}`",))
    merged, sources, problems = overlay(document or {}, environ, lambda path: holds_text(path, Config), all_keys())
    settings = _without_blanks(merged, pause)
    _release(merged, pause)
    left_out = _validate_tenants(settings, pause)
    found, broken = [], list[Location]()
    config, errors = _validate(settings)
    while errors:
        # A later round may only follow from what was taken out before; such problems go with their cause.
        known = [dotted(location) for location in broken]
        for error in errors:
            location = error["loc"]
            if not any(_overlaps(dotted(location), key) for key in known):
                found.append((location, *explain(error, Config)))
            broken.append(location)
        # What is broken is taken out, so that the rules can be asked about the rest.
        for location in {e["loc"] for e in errors}:
            _take_out(settings, location)
        config, errors = _validate(settings)
    for location, key, text_ in found:
        problems.append(f"{key}: {text_}{_source(location, sources, unknown=text_.startswith('unknown key'))}")
    broken_keys = [dotted(location) for location in broken]
    for rule in RULES:
        if not any(_overlaps(read, key) for read in rule.reads for key in broken_keys):
            problems += [
                f"{key}: {text_}{_source(tuple(key.split('.')), sources)}"
                for key, text_ in islice(rule.check(config, pause), MAX_PROBLEMS)
            ]
    return config, problems + left_out, broken_keys


def _validate_tenants(settings: dict[str, Any], pause: Pause) -> list[str]:
    """Replaces each good tenant of `settings` by its `TenantConfig`. The bad ones stay, for `_validate` to explain."""
    tenants = settings.get("tenants")
    if not isinstance(tenants, list):
        return []
    broken = 0
    for index, tenant in enumerate(tenants):
        if isinstance(tenant, TenantConfig):
            continue
        try:
            tenants[index] = TenantConfig.model_validate(tenant)
        except ValidationError:
            broken += 1
            if broken == MAX_BROKEN_TENANTS:
                del tenants[index + 1 :]
                return [f"tenants: {broken} entries have problems; those after tenants.{index} were not looked at"]
        pause()
    return []


def _validate(settings: dict[str, Any]) -> tuple[Config, list[Any]]:
    try:
        return Config.model_validate(settings), []
    except ValidationError as error:
        if error.error_count() > MAX_PROBLEMS:
            _refuse_all(error)
        return Config(), error.errors(include_url=False)


def _refuse_all(error: ValidationError) -> NoReturn:
    """Explaining a problem takes a millisecond; a file with thousands has one cause, which the first ones show."""
    count = error.error_count()
    first = [explain(found, Config) for found in error.errors(include_url=False)[:MAX_PROBLEMS]]
    raise ConfigError((*(f"{key}: {text}" for key, text in first), f"and {count - MAX_PROBLEMS} more problems"))


def _without_blanks(value: Any, pause: Pause) -> Any:
    """Settings without blank (null) ones, which mean the default, and without entries of blanks alone at lists' ends."""
    if isinstance(value, dict):
        pause()
        return {key: _without_blanks(item, pause) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        items = [_without_blanks(item, pause) for item in value]
        while items and items[-1] == {} and value[len(items) - 1]:
            items.pop()
        return items
    return value


def _release(document: dict[str, Any], pause: Pause) -> None:
    """Frees a document step by step: at once it would hold up the event loop for 30 ms."""
    tenants = document.pop("tenants", None)
    while isinstance(tenants, list) and tenants:
        tenants.pop()
        pause()


def _take_out(settings: Any, location: Location) -> None:
    """Removes the deepest part of `settings` on the way to `location`, which a missing setting does not reach."""
    holder, key = None, None
    for part in location:
        try:
            inner = settings[part]
        except (KeyError, IndexError, TypeError):
            break
        holder, key, settings = settings, part, inner
    if isinstance(holder, dict):
        holder.pop(key, None)
    elif isinstance(holder, list) and isinstance(key, int):
        holder[key:] = []


def _overlaps(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _source(location: Location, sources: Mapping[tuple[str, ...], str], *, unknown: bool = False) -> str:
    path = tuple(map(str, location))
    for length in range(len(path), 0, -1):
        if name := sources.get(path[:length]):
            return f" (set by {name})"
    if unknown:
        # What is not known at all may be so by a variable for something in it.
        inner = next((name for source, name in sources.items() if source[: len(path)] == path), "")
        return f" (set by {inner})" if inner else ""
    return ""
