"""YAML is read strictly, and nothing that it can hold ends in anything but a list of problems."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.config import ConfigError, parse_config


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 'line 3, column 1: the key "a" comes twice: keep one'),
        ("server: {listen: a, listen: b}", 'line 1, column 21: the key "listen" comes twice: keep one'),
        ("1: x", '"1": a key must be text: put it in quotes'),
        ("server: {on: x}", 'server."True": a key must be text: put it in quotes'),
        ("a: &x [*x]", "the document's aliases make it endless or too large: write the values out"),
        ("[" * 100_000, "the document is nested deeper than 32 levels"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4: could not determine a constructor"),
        ("a: 2026-02-31", "a value cannot be read as YAML: put quotes around it"),
        (
            "a: 1\n---\nb: 1",
            "line 2, column 1: a second document begins: keep one, such as by removing this `---` line",
        ),
        (
            "server:\n\tlisten: x",
            "line 2, column 1: a tab cannot indent: write spaces, such as two in front of `listen:`",
        ),
        ("server:\n  listen: x\n  \tdrain_seconds: 1", "line 3, column 3: a tab cannot indent: write spaces"),
        (
            "a: b: c",
            "line 1, column 5: mapping values are not allowed in this context: correct the indentation, or put",
        ),
        (
            "server:\nlisten\nx: 1",
            "line 3, column 1: could not find expected ':': write `key: value`, such as `listen:",
        ),
        (
            "a:\n  b: c\n d: e",
            "line 3, column 2: did not find expected key: the keys of a mapping begin in the same column",
        ),
        ("- a\nb: 1", "line 2, column 1: did not find expected '-' indicator: the entries of a list begin in the same"),
        ("a: [1", "line 2, column 1: did not find expected ',' or ']': close the bracket, such as `[a, b]`"),
        ("a: 'x", "line 1, column 6: found unexpected end of stream: close the quotes"),
        ("a: @b", "line 1, column 4: found character that cannot start any token: put the value in quotes, such as"),
        ("[1]", "the document must be a mapping of settings"),
        ("just text", "the document must be a mapping of settings"),
        ("\x00", "it holds characters that YAML does not allow"),
        ("? [a]\n: 1", "line 1, column 3: a key must be text"),
        ("a: " + "x" * 17_000_000, "the document is larger than"),
    ],
)
def test_a_bad_document_is_a_problem(text: str, problem: str) -> None:
    """Each kind of bad YAML is one line, with its place where there is one."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    [line] = caught.value.problems
    assert line.startswith(problem)


def test_aliases_cannot_multiply_without_end() -> None:
    """A document of a few lines that stands for billions of values is refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ConfigError, match="aliases make it endless or too large"):
        parse_config("\n".join(lines))


def test_merge_keys_and_aliases_may_be_used() -> None:
    """Tenants can share limits by an anchor."""
    config = parse_config("tenants: [{id: a, limits: &l {concurrency: 3}}, {id: b, limits: {<<: *l}}]")
    assert config.tenants[1].limits.concurrency == 3


KEYS = st.sampled_from(
    ["server", "listen", "tls", "upstream", "credentials", "name", "tenants", "id", "limits", "rate", "auth"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, st.text(max_size=4)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_make_a_configuration_or_problems(settings: dict[str, object]) -> None:
    """Whatever the values are, each problem is one printable line."""
    import yaml

    _only_problems(yaml.safe_dump(settings))


@given(st.text(alphabet=st.sampled_from("ab:-?!&*|>%@`[]{}#'\",.0123456789~ \n\t<="), max_size=60))
@example("=: 1")
@example("a: 0x_")
@example("a: 1:99:")
@example("a: 99999999999-01-01")
@example("a: !!binary x")
@example("a: !!int x")
@example("a: !!float x")
@example("a: !!timestamp x")
@example("a: !!set {a, b}")
@example("a: !!omap [a]")
@example("!!bool maybe")
@example("- !!merge x")
@example("server: {tls: *nowhere}")
@example("a: 1e999")
def test_any_text_makes_a_configuration_or_problems(text: str) -> None:
    """Whatever the text is, it never ends in another exception."""
    _only_problems(text)


@given(st.dictionaries(st.text(max_size=12).map("FACEGATE_{}".format), st.text(max_size=12), max_size=3))
def test_any_environment_makes_a_configuration_or_problems(environ: dict[str, str]) -> None:
    """Variables are as untidy as files."""
    _only_problems("tenants: [{id: a}]", environ)


def _only_problems(text: str, environ: dict[str, str] | None = None) -> None:
    problems: tuple[str, ...] = ("none",)
    try:
        parse_config(text, environ)
    except ConfigError as error:
        problems = error.problems
    assert problems
    assert all(problem.isprintable() for problem in problems)
