"""Writes the chart's README.md and values.schema.json from values.yaml and the gateway's own settings.

python -m scripts.chart.docs FOLDER
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.docs import json_schema
from scripts.chart.values import Value, read_values

CHART = Path(__file__).resolve().parents[2] / "helm" / "facegate"

# What the chart sets by itself, from other values; by section of the gateway's configuration.
SET_BY_CHART = {
    "Config": ("stores", "tenants"),
    "OpsConfig": ("listen",),
    "ServerConfig": ("listen", "insecure", "tls", "health_listen"),
    "UpstreamConfig": ("credentials", "ca_file"),
    "QuotaConfig": ("expected_replicas",),
    "AuthConfig": ("anonymous_tenant",),
}
_TYPES = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


def schema() -> dict[str, Any]:
    """The JSON Schema of the values: draft 7, which Helm 3 and 4 both know."""
    gateway = json_schema()
    sections = {"Config": {key: item for key, item in gateway.items() if key != "$defs"}, **gateway["$defs"]}
    for name, keys in SET_BY_CHART.items():
        for key in keys:
            del sections[name]["properties"][key]
    sections = {name: _without_blank(section) for name, section in sections.items()}
    needed: set[str] = set()
    _reach(sections, "Config", needed)
    _reach(sections, "TenantConfig", needed)
    values = _object(read_values(CHART / "values.yaml"))
    # What Helm itself hands to every chart.
    values["properties"]["global"] = {"type": "object", "description": "Values that Helm shares between charts."}
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart facegate",
        **values,
        "definitions": {name: sections[name] for name in sorted(needed)},
    }
    document["definitions"]["Config"].pop("$schema", None)
    moved: dict[str, Any] = json.loads(json.dumps(document).replace("#/$defs/", "#/definitions/"))
    return moved


def _without_blank(part: Any) -> Any:
    """A blank value is only an absent one, and as an alternative it doubles every message of a refusal."""
    if isinstance(part, list):
        return [_without_blank(item) for item in part]
    if not isinstance(part, dict):
        return part
    rest = {key: _without_blank(item) for key, item in part.items() if key != "default"}
    match rest.pop("anyOf", None):
        case [dict() as one, {"type": "null"}]:
            return {**one, **rest}
        case None:
            return rest
        case others:
            return {**rest, "anyOf": others}


def _reach(sections: dict[str, Any], name: str, needed: set[str]) -> None:
    needed.add(name)
    for part in json.dumps(sections[name]).split("#/$defs/")[1:]:
        inner = part.partition('"')[0]
        if inner not in needed:
            _reach(sections, inner, needed)


def _object(values: tuple[Value, ...]) -> dict[str, Any]:
    # Helm takes a value that is set to null away, default and all; where that leaves a hole, the templates would break.
    needed = [value.path[-1] for value in values if value.default]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": needed,
        "properties": {value.path[-1]: _property(value) for value in values},
    }


def _property(value: Value) -> dict[str, Any]:
    extra = dict(value.extra)
    match extra.pop("gateway", None):
        case "config":
            return {"$ref": "#/$defs/Config", "description": value.description}
        case "tenants":
            items = {"$ref": "#/$defs/TenantConfig"}
            return {"type": "array", "description": value.description, "items": items}
    if value.inner:
        return {"description": value.description, **_object(value.inner)}
    return {"description": value.description, "type": _TYPES[type(value.default)], **extra}


def readme() -> str:
    """The chart's README: what is written by hand, then a table a section."""
    parts = [(CHART / "README.head.md").read_text("utf-8").rstrip() + "\n"]
    values = read_values(CHART / "values.yaml")
    parts.append(_table([value for value in values if not value.inner]))
    for value in values:
        if value.inner:
            parts.append(f"### `{value.name}`\n\n{value.description}\n")
            parts.append(_table(list(_rows(value))))
    return "\n".join(parts)


def _rows(value: Value) -> Iterator[Value]:
    for inner in value.inner:
        yield inner
        yield from _rows(inner)


def _table(values: list[Value]) -> str:
    rows = [f"| `{value.name}` | {_default(value)} | {_cell(value.description)} |" for value in values]
    return "\n".join(("| value | default | what it does |", "|---|---|---|", *rows)) + "\n"


def _default(value: Value) -> str:
    return "" if value.inner else f"`{json.dumps(value.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def pages() -> dict[str, str]:
    """Every generated file of the chart: its name and what it holds."""
    return {"README.md": readme(), "values.schema.json": json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"}


def main(folder: Path) -> None:
    """Writes the pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
