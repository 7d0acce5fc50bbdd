"""Settings from environment variables, laid over those of the file.

`FACEGATE_SERVER__LISTEN` sets `server.listen`: two underscores go one level down, a number counts list entries from 0,
and the value is read as YAML (a scalar, or a list or mapping in flow style). For a setting that is text, a value that
YAML would take for something else is the text itself: `[::1]:50051` and `2024` need no quotes.

A variable is meant as a setting if it has two underscores, or if only their number is wrong (`FACEGATE_SERVER_LISTEN`,
which is an error). Others, such as `FACEGATE_API_ID` of somebody's deployment, are ignored, and that is said once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from gateway.config.document import read_document
from gateway.config.problems import ConfigError

PREFIX = "FACEGATE_"
NOT_SETTINGS = frozenset(
    f"{PREFIX}{name}" for name in ("CONFIG", "TARGET", "TOKEN_FILE", "TLS", "TLS_CA", "CLIENT_CERT", "CLIENT_KEY")
)
"""Variables of the command line: the configuration's file, and how client commands call."""

# Kubernetes sets these in every pod beside a Service whose name starts with `facegate`.
_SERVICE_LINK = re.compile(
    r"FACEGATE_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)"
)
_SERVICE_LINK_PORT = re.compile(r"FACEGATE_(?:[A-Z0-9_]+_)?PORT")

Path = tuple[str, ...]


def overlay(
    document: dict[str, Any], environ: Mapping[str, str], is_text: Callable[[Path], bool], keys: Collection[str]
) -> tuple[dict[str, Any], dict[Path, str], list[str]]:
    """Lays the settings of `environ` over `document`, which it leaves as it is; `is_text` knows which hold text.

    `keys` are the dotted paths of all settings. Returns the new document, the variable that set each path, and the
    problems of variables that could not be laid.
    """
    result: dict[str, Any] = document
    sources: dict[Path, str] = {}
    problems: list[str] = []
    exempt = NOT_SETTINGS | _named_variables(document)
    for name in sorted(environ):
        if name in exempt or not names_setting(name, environ[name], keys):
            continue
        path = tuple(part.lower() for part in name[len(PREFIX) :].split("__"))
        try:
            value = _read(environ[name], text=is_text(path))
            result = _with(result, path, value)
        except ConfigError as error:
            problems += [f"{'.'.join(path)}: {problem} (set by {name})" for problem in error.problems]
        else:
            sources[path] = name
    return result, sources, problems


def names_setting(name: str, value: str, keys: Collection[str]) -> bool:
    """Whether a variable is meant as a setting: it has two underscores, or is a setting's name but for their number."""
    if not name.startswith(PREFIX) or _is_service_link(name, value):
        return False
    rest = name[len(PREFIX) :].lower()
    return "__" in rest or rest in {key.replace(".", "_") for key in keys}


def ignored_variables(environ: Mapping[str, str], named: Collection[str], keys: Collection[str]) -> list[str]:
    """Variables with the prefix that are neither settings nor anything else; `named` hold the configuration's secrets."""
    return [
        name
        for name in sorted(environ)
        if name.startswith(PREFIX)
        and name not in NOT_SETTINGS
        and name not in named
        and not _is_service_link(name, environ[name])
        and not names_setting(name, environ[name], keys)
    ]


def _read(raw: str, *, text: bool) -> Any:
    try:
        value = read_document(raw)
    except ConfigError:
        if text:
            return raw.strip()
        raise
    return raw.strip() if text and not isinstance(value, str | None) else value


def _with(container: Any, path: Path, value: Any) -> Any:
    """`container` with `value` at `path`; what lies on the way is copied, never changed."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    if isinstance(container, list) or (container is None and key.isascii() and key.isdigit()):
        items = list(container or ())
        if not (key.isascii() and key.isdigit() and int(key) <= len(items)):
            raise ConfigError((f"must go on with a number from 0 to {len(items)}: a list has {len(items)} entries",))
        old = items[int(key)] if int(key) < len(items) else None
        items[int(key) :] = [_with(old, rest, value), *items[int(key) + 1 :]]
        return items
    if container is not None and not isinstance(container, dict):
        raise ConfigError(("goes deeper than the setting does",))
    return {**(container or {}), key: _with((container or {}).get(key), rest, value)}


def _named_variables(document: dict[str, Any]) -> frozenset[str]:
    """Variables that the configuration itself names as holders of secrets."""
    upstream = document.get("upstream")
    credentials = upstream.get("credentials") if isinstance(upstream, dict) else None
    entries = credentials if isinstance(credentials, list) else []
    return frozenset(
        value
        for entry in entries
        if isinstance(entry, dict)
        for key, value in entry.items()
        if key in ("api_id_env", "api_secret_env") and isinstance(value, str)
    )


def _is_service_link(name: str, value: str) -> bool:
    if "__" in name:
        return False
    linked_port = _SERVICE_LINK_PORT.fullmatch(name) is not None and value.startswith(("tcp://", "udp://", "sctp://"))
    return linked_port or _SERVICE_LINK.fullmatch(name) is not None
