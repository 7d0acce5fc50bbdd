"""The one-pass reader finds what PyYAML's safe loader finds, and refuses in bounded time what would take for ever."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ConfigError, parse_config
from gateway.config.composing import MAX_VALUES
from gateway.config.document import MAX_CHARACTERS, read_document

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12), st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=20,
)
PLAIN = st.text(alphabet=st.sampled_from("0123456789abcdefxXoOyYnN.:-+_~eE<="), min_size=1, max_size=12)


def as_pyyaml(text: str) -> Any:
    return yaml.load(text, Loader=yaml.CSafeLoader)


@given(VALUES, st.sampled_from([None, False, True]))
def test_it_finds_what_pyyaml_finds(value: Any, flow: bool | None) -> None:
    """In block style, in flow style and mixed, with aliases wherever PyYAML writes some."""
    text = yaml.safe_dump([value, value], default_flow_style=flow, allow_unicode=True)
    assert read_document(text) == as_pyyaml(text)


@given(PLAIN)
def test_plain_scalars_mean_what_they_mean_to_pyyaml(text: str) -> None:
    """Numbers of every form, switches, dates and what only looks like one; or both refuse it."""
    document = f"a: {text}"
    try:
        expected = as_pyyaml(document)
        key_is_text = all(isinstance(key, str) for key in expected)
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        expected, key_is_text = None, False
    try:
        found = read_document(document)
    except ConfigError:
        assert not key_is_text
    else:
        assert found == expected


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}",
        "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y], r: 3}",
        "a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: *x, r: 3, <<: *y}",
        'a: "<<"\n"<<": b',
        "a: !!str 1\nb: !!int '1'\nc: !!null ''\nd: ! 12\ne: !!float 1\nf: !!bool yes",
        "a: |\n  x\n  - y\nb: >-\n  x\n  y\nc: 'it''s'\nd: \"\\x41\"",
        "%YAML 1.1\n---\na: 1\n...",
    ],
)
def test_merges_tags_and_styles_mean_what_they_mean_to_pyyaml(text: str) -> None:
    """Merge keys take precedence as PyYAML has them, tags choose a scalar's kind."""
    assert read_document(text) == as_pyyaml(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [*a]", "aliases make it endless"),
        ("a: [" + "x," * (MAX_VALUES + 1) + "]", f"more than {MAX_VALUES} values"),
        (
            "\n".join(["- &a0 [x]"] + [f"- &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]),
            "aliases make it endless",
        ),
        ("{a: " * 4000, "nested deeper than 32 levels"),
        ("a:\n" + "".join(f"{' ' * n}-\n" for n in range(1, 60)), "nested deeper than 32 levels"),
        ("a: " + "x" * MAX_CHARACTERS, "larger than 16777216 characters"),
    ],
)
def test_a_bomb_is_refused_within_seconds(text: str, problem: str) -> None:
    """However little text it takes; the bound is wide enough for a busy machine."""
    started = time.process_time()
    with pytest.raises(ConfigError, match=problem):
        read_document(text)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "scalar", ["1" + ":1" * 600_000, "9" * 4_000_000, "0x" + "f" * 4_000_000, "!!int 1" + ":1" * 10**6]
)
def test_a_huge_number_takes_no_time(scalar: str) -> None:
    """The time of YAML's base-60 form grows with the square of its length; no setting takes such a number."""
    started = time.process_time()
    with pytest.raises(ConfigError, match=r"server\.max_concurrent_rpcs|tag"):
        parse_config(f"server: {{max_concurrent_rpcs: {scalar}}}")
    assert time.process_time() - started < 10
