"""Names that the operators' listener answers to."""

from __future__ import annotations

import pytest

from gateway.config import ConfigError, parse_config

CREDENTIALS = "upstream: {credentials: [{name: a, api_id_env: A, api_secret_env: B}]}\n"


@pytest.mark.parametrize("name", ["faces.corp.example", "*.corp.example", "facegate", "a_b-c.example"])
def test_a_name_or_all_below_one(name: str) -> None:
    """In lower case, as they are compared."""
    config = parse_config(f"{CREDENTIALS}ops: {{allowed_hosts: ['{name}']}}", {"A": "a", "B": "b"})
    assert config.ops.allowed_hosts == (name,)


@pytest.mark.parametrize(
    "name", ["", "*", "*.", "a.*.example", "Faces.example", "faces.example:80", "https://faces.example", "a/b", "a b"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    """It would never match, and whoever wrote it would not know why."""
    with pytest.raises(ConfigError) as raised:
        parse_config(f"{CREDENTIALS}ops: {{allowed_hosts: ['{name}']}}", {"A": "a", "B": "b"})
    assert raised.value.problems[0].startswith("ops.allowed_hosts.0: must be a host name in lower case")
