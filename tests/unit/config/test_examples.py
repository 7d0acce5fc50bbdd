"""The examples in error texts are right themselves."""

from __future__ import annotations

import pytest
import yaml

from gateway.config import parse_config
from gateway.config.docs import sections
from gateway.config.examples import example
from gateway.config.schema import Config

SETTINGS = [
    (*(0 if part == "N" else part for part in path.split(".") if part), name)
    for path, section in sections(Config)
    for name in section.model_fields
]


@pytest.mark.parametrize("location", SETTINGS, ids=lambda location: ".".join(map(str, location)))
def test_an_example_is_yaml_of_its_setting(location: tuple[str | int, ...]) -> None:
    """One key, the setting's, and a value."""
    value = yaml.safe_load(example(location, Config))
    assert list(value) == [location[-1]]
    assert value[location[-1]] is not None


@pytest.mark.parametrize("section", list(Config.model_fields))
def test_the_example_of_a_section_can_be_used(section: str) -> None:
    """It is a configuration."""
    tenants = "tenants: [{id: kyc}]\n" if section != "tenants" else ""
    assert parse_config(tenants + example((section,), Config))


def test_a_setting_that_does_not_exist_has_no_example() -> None:
    """Rather than one of something else."""
    assert example(("server", "nothing"), Config) == ""
    assert example((), Config) == ""
