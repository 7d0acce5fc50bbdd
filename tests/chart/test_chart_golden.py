"""What each set of values renders to is kept beside it; both majors of Helm render the same.

After a change that is meant: `make chart GOLDEN=write`, and read the difference before it is committed.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.chart import GOLDEN, MAJORS, SETS, chart_with_examples, parse, render, require_helm

pytestmark = pytest.mark.helm


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chart_with_examples(tmp_path_factory.mktemp("chart"))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("major", MAJORS)
def test_render_is_as_kept(major: str, name: str, chart: Path) -> None:
    """A set renders to its golden file, byte for byte save blank lines."""
    rendered = render(require_helm(major), name, chart=chart)
    kept = GOLDEN / f"{name}.out.yaml"
    if os.environ.get("GOLDEN") == "write" and major == MAJORS[0]:
        kept.write_text(rendered, "utf-8")
    assert rendered == kept.read_text("utf-8")


@pytest.mark.parametrize("name", SETS)
def test_names_are_texts(name: str, chart: Path) -> None:
    """A release, a namespace or a Secret may be called what YAML takes for a number or for true."""
    docs = parse(render(require_helm("helm4"), name, chart=chart, release="on", namespace="123"))
    for doc in docs:
        metadata = doc["metadata"]
        named = [metadata["name"], metadata["namespace"], *metadata["labels"].values()]
        assert [text for text in named if not isinstance(text, str)] == []


def test_there_are_enough_sets() -> None:
    """At least twelve, and every kept render belongs to one."""
    assert len(SETS) >= 12
    assert {path.name.removesuffix(".out.yaml") for path in GOLDEN.glob("*.out.yaml")} == set(SETS)
