"""What every group of settings has in common: frozen, strict, and closed to unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A group of settings. A setting is described in its `Field`, the only place that documents it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,
    )


def broken_rule(key: str, text: str) -> PydanticCustomError:
    """A rule between settings of one section that does not hold; `key` is the setting to mend."""
    return PydanticCustomError("rule", "{text}", {"key": key, "text": text})
