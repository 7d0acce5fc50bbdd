"""How a setting is written: a line of YAML for each, made from its declaration."""

from __future__ import annotations

import json
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.config.explain import section_of

_WHOLE = {
    "face_sets": "{employees: employees-prod}",
    "credentials": "[{name: primary, api_id_file: /run/secrets/api_id, api_secret_file: /run/secrets/api_secret}]",
    "jwt_issuers": "[{issuer: https://issuer.example, audience: facegate, jwks_url: https://issuer.example/keys}]",
    "principals": "[{spiffe_id: spiffe://corp.example/ns/kyc/sa/api}]",
}
_TEXTS = {"id": "kyc", "anonymous_tenant": "kyc", "allowed_hosts": "facegate.corp.example"}


def example(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """`name: value` for the setting at `location` under `model`; empty if there is no such setting."""
    name, value = "", ""
    inner: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        field = inner.model_fields.get(part) if inner is not None else None
        if field is None:
            return ""
        name, value = part, _value(part, field)
        inner = section_of(field.annotation)[0]
    return f"{name}: {value}" if name else ""


def _value(name: str, field: FieldInfo) -> str:
    if name in _WHOLE:
        return _WHOLE[name]
    section, in_list = section_of(field.annotation)
    if section is None:
        return _scalar(name, field)
    required = [n for n, f in section.model_fields.items() if f.is_required()]
    names = required or list(section.model_fields)[:1]
    text = f"{{{', '.join(f'{n}: {_value(n, section.model_fields[n])}' for n in names)}}}"
    return f"[{text}]" if in_list else text


def _scalar(name: str, field: FieldInfo) -> str:
    if isinstance(field.default, str):
        return field.default
    if isinstance(field.default, bool | int | float):
        return json.dumps(field.default)
    return _of_kind(name, field.annotation)


def _of_kind(name: str, annotation: Any) -> str:
    arguments = [kind for kind in get_args(annotation) if kind is not NoneType]
    if get_origin(annotation) is Literal:
        return str(arguments[0])
    if annotation is Path:
        return f"/run/secrets/{name.removesuffix('_file')}"
    if annotation in (int, float):
        return "10"
    if annotation is bool:
        return "true"
    if annotation is str or not arguments:
        return _TEXTS.get(name, "…")
    inner = _of_kind(name, arguments[0])
    return f"[{inner}]" if get_origin(annotation) is tuple else inner
