"""The reference pages are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.docs import json_schema_text, main, reference_page, sections, unit_of
from gateway.config.schema import Config

DOCS = Path(__file__).resolve().parents[3] / "docs"
SETTINGS = [
    pytest.param(name, field, id=f"{path}.{name}".lstrip("."))
    for path, section in sections(Config)
    for name, field in section.model_fields.items()
]


def test_the_committed_pages_are_generated() -> None:
    """`make generate` would change nothing."""
    assert (DOCS / "configuration.md").read_text("utf-8") == reference_page()
    assert (DOCS / "config.schema.json").read_text("utf-8") == json_schema_text()


def test_a_difference_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The check fails on a page that was edited or is missing, and writes nothing."""
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    page = tmp_path / "configuration.md"
    page.write_text("edited")
    assert main(["--check", str(tmp_path)]) == 1
    assert page.read_text() == "edited"
    assert "configuration.md differs" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "field"), SETTINGS)
def test_every_setting_is_described(name: str, field: object) -> None:
    """A sentence each; a number has a unit and a range."""
    from pydantic.fields import FieldInfo

    assert isinstance(field, FieldInfo)
    assert field.description
    assert field.description.endswith(".")
    if any(kind in str(field.annotation) for kind in ("int", "float")) and "File" not in str(field.annotation):
        if "gateway.config" in str(field.annotation) or "str" in str(field.annotation):
            return
        assert unit_of(name, field), "a unit"
        assert any(hasattr(bound, "ge") or hasattr(bound, "gt") for bound in field.metadata), "a range"
