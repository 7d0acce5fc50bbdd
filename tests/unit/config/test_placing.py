"""A problem of a file begins with the file, the line and, for a tenant, its id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import ConfigError, load_config

GOOD = "upstream:\n  credentials:\n    - {name: a, api_id_env: ID, api_secret_env: SECRET}\n"
SECRETS = {"ID": "an-id", "SECRET": "hunter2"}


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """The problems of a file `f.yaml` with this text, as they are printed but for its folder."""
    file = folder / "f.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, {**SECRETS, **(environ or {})})
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server:\n  drain_seconds: 3\n  listn: x\n", "f.yaml:6: server.listn: unknown key, did you mean"),
        ("tenants:\n  - id: kyc\n  - id: b\n    role: king\n", "f.yaml:7: tenants.1.role (b): must be one of"),
        (
            "tenants:\n- limits: {concurrency: 0}\n  id: kyc\n",
            "f.yaml:5: tenants.0.limits.concurrency (kyc): must be 1",
        ),
        ("tenants:\n  - id: a\n    face_sets:\n      UP: x\n", "f.yaml:7: tenants.0.face_sets.UP (a): must be 1 to 63"),
        ("tenants:\n\n  # the first\n  - role: caller\n", "f.yaml:7: tenants.0.id: is required"),
        ("tenants:\n  - {id: a}\n  - {id: a}\n", 'f.yaml:6: tenants.1.id (a): "a" is the id of tenants.0 (a) too'),
        (
            "tenants:\n  - id: a\n    rol: x\n",
            'f.yaml:6: tenants.0.rol (a): unknown key, did you mean "tenants.0.role"?',
        ),
        (
            "tenants:\n  - &t\n    id: a\n    role: king\n  - *t\n",
            "f.yaml:7: tenants.0.role (a): must be one of 'caller', 'operator'",
        ),
        ("stores:\n  key_file: /gone\n", "f.yaml:5: stores.key_file: "),
        ("server:\n\tlisten: x\n", "f.yaml:5:1: a tab cannot indent"),
        ("---\nserver: {}\n", "f.yaml:4:1: a second document begins"),
        ("server: {listen: a, listen: b}\n", 'f.yaml:4:21: the key "listen" comes twice: keep one'),
        ("server:\n  listen: 0.0.0.0:1\n", "f.yaml:5: server.listen: 0.0.0.0:1 is reachable by other machines"),
        ("auth:\n  anonymous_tenant: b\ntenants:\n- id: a\n", "f.yaml:5: auth.anonymous_tenant: is not the id"),
    ],
)
def test_a_problem_has_its_place(text: str, problem: str, tmp_path: Path) -> None:
    """Whatever found it: the parser, the declaration, a rule between settings, or the look at files."""
    found = problems(tmp_path, GOOD + text)
    assert found[0].startswith(problem)


def test_what_is_not_in_the_file_has_no_line(tmp_path: Path) -> None:
    """A variable is named; a setting that is missing altogether has the file alone."""
    assert problems(tmp_path, GOOD, {"FACEGATE_CACHE__TTL_SECONDS": "x"}) == [
        'cache.ttl_seconds: must be a number, not "x" (set by FACEGATE_CACHE__TTL_SECONDS)'
    ]
    assert problems(tmp_path, "server: {}\n")[0].startswith("f.yaml: upstream.credentials: is empty")
    assert problems(tmp_path, "[1]")[0].startswith("f.yaml: the document must be a mapping")


def test_a_document_too_deep_to_read_is_not_read_for_its_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for places ends where the reading did: the parser takes time that grows with the square of the depth."""
    parse, events = yaml.parse, list[object]()

    def counted(*arguments: Any) -> Iterator[object]:
        for event in parse(*arguments):
            events.append(event)
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    assert problems(tmp_path, "[" * 1000) == ["f.yaml: the document is nested deeper than 32 levels"]
    assert len(events) < 50


def test_an_id_that_could_be_something_else_is_not_shown(tmp_path: Path) -> None:
    """Only what has the form of an id."""
    (line,) = problems(tmp_path, f"{GOOD}tenants: [{{id: Facegate_Hunter2, role: caller}}]\n")
    assert line.startswith("f.yaml:4: tenants.0.id: must be 1 to 63")
    assert "Hunter2" not in line
