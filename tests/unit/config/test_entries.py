"""A file that changed is read without the tenants that did not, and means exactly what it would mean if read whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import Config, ConfigError, TenantConfig, config_of
from gateway.config import loading as module
from gateway.config.entries import split
from gateway.pace import without_pause

HEAD = "# head\nserver: {listen: 127.0.0.1:0}\n"
TENANTS = "tenants:  # all of them\n"


def entry(name: str, limit: int = 1) -> str:
    return f"  - id: {name}\n    limits: {{concurrency: {limit}}}\n    face_sets: {{a: {name}-prod}}\n"


def file_of(*entries: str, tail: str = "telemetry: {log_format: json}\n") -> str:
    return HEAD + TENANTS + "".join(entries) + tail


def loaded(text: str, before: Config | None = None) -> Config | tuple[str, ...]:
    """The configuration, or its problems."""
    try:
        return config_of(text.encode(), before=before)
    except ConfigError as error:
        return error.problems


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The ids of the tenants that were validated since it was last called."""
    seen: list[str] = []

    class Watched(TenantConfig):
        @classmethod
        def model_validate(cls, obj: object, **options: object) -> TenantConfig:  # type: ignore[override]
            tenant = TenantConfig.model_validate(obj)
            seen.append(tenant.id)
            return tenant

    def take() -> list[str]:
        taken = list(seen)
        seen.clear()
        return taken

    monkeypatch.setattr(module, "TenantConfig", Watched)
    monkeypatch.setattr(module, "isinstance", lambda value, kind: _is(value, kind, Watched), raising=False)
    return take


def _is(value: object, kind: object, watched: type) -> bool:
    return isinstance(value, TenantConfig if kind is watched else kind)  # type: ignore[arg-type]


def test_only_what_changed_is_validated(validated: Callable[[], list[str]]) -> None:
    """Of thousands of tenants a change concerns one."""
    names = [f"t{number}" for number in range(50)]
    before = config_of(file_of(*map(entry, names)).encode())
    assert validated() == names
    changed = [entry(name, 2 if name == "t7" else 1) for name in names if name != "t9"]
    after = config_of(file_of(*changed, entry("new")).encode(), before=before)
    assert validated() == ["t7", "new"]
    assert [tenant.id for tenant in after.tenants] == [name for name in names if name != "t9"] + ["new"]
    assert after.tenants[7].limits.concurrency == 2
    assert after.tenants[8] is before.tenants[8]
    assert after == config_of(file_of(*changed, entry("new")).encode())
    validated()
    again = config_of(file_of(*reversed(changed)).encode(), before=after)
    assert validated() == []
    assert [tenant.id for tenant in again.tenants] == [tenant.id for tenant in reversed(after.tenants[:-1])]


# What an entry may look like, good and bad, also such that a quote or a bracket of one entry reaches into the next.
PIECES = st.sampled_from(
    [
        entry("a"),
        entry("b"),
        entry("b", 2),
        entry("c").replace("\n", "\n\n# a comment\n", 1),
        "  - {id: d, face_sets: {x: 'y'}}\n",
        "  - id: e\n    face_sets: {x: y,\n      z: w}\n",
        '  - id: f\n    face_sets: {x: "y\n  - id: g\n    z"}\n',
        '  - id: h\n    face_sets: {x: "\n',
        '  - id: i\n    face_sets: {x: y"}\n',
        "  - id: j\n    face_sets: {x: |\n      y}\n",
        "  - id: k\n    face_sets:\n      x: |\n        - id: l\n        y\n",
        "  - id: m\n    face_sets: {\n",
        "  - }\n",
        "  - ~\n",
        "  -\n    id: n\n",
        "  - id: o\n    limits: &l {concurrency: 3}\n",
        "  - id: o\n    limits: &l {concurrency: 4}\n",
        "  - id: p\n    limits: *l\n",
        "  - id: g\n",
        "  - id: q\n   face_sets: {}\n",
        "  - id: a\n    role: king\n",
        " - id: r\n",
        "   - id: s\n",
        "  - - id: t\n",
        "tenants:\n",
        "\t- id: u\n",
        '  - id: w\n    face_sets: {x: "y\n  - id: g\nfoo"}\n',
        "  - id: x\n    face_sets: {y: 'z\n\n   - id: g'}\r\n",
        "  - id: v",
    ]
)
TAILS = st.sampled_from(
    ["", "telemetry: {log_format: json}\n", 'ops: {listen: "127.0.0.1:0"}\n', "x: '\n", "}\n", "...\n"]
)


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=5), st.lists(PIECES, max_size=5), TAILS)
def test_it_means_what_the_whole_file_means(first: list[str], second: list[str], tail: str) -> None:
    """Whatever the entries look like: the same configuration, or the same problems at the same lines."""
    before = loaded(file_of(*first, tail=tail))
    known = before if isinstance(before, Config) else loaded(file_of(entry("a"), entry("b")))
    assert isinstance(known, Config)
    assert loaded(file_of(*second, tail=tail), known) == loaded(file_of(*second, tail=tail))


def test_tenants_from_the_environment_have_the_whole_file_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable changes an entry whose text is the same."""
    monkeypatch.setenv("FACEGATE_TENANTS__0__LIMITS__CONCURRENCY", "9")
    text = file_of(entry("a"), entry("b"))
    before = config_of(text.encode())
    assert before.known == {}
    after = config_of(text.encode(), before=before)
    assert after.tenants[0].limits.concurrency == 9


@pytest.mark.parametrize(
    "text",
    ["", "server: {}\n", "tenants: [{id: a}]\n", "tenants:\n", "tenants:\n  a: b\n", "tenants:\ntenants:\n  - id: a\n"],
)
def test_a_file_without_a_list_of_entries_is_not_cut(text: str) -> None:
    """It is read whole."""
    assert split(text, without_pause) is None


def test_the_pieces_of_a_file_are_the_file() -> None:
    """Nothing is lost, and what follows the list is no entry."""
    text = file_of(entry("a"), "# between\n", entry("b"))
    pieces = split(text, without_pause)
    assert pieces is not None
    assert pieces.head + "".join(pieces.texts) + pieces.tail == text
    assert len(pieces.texts) == 2
    assert pieces.tail.startswith("telemetry")


def test_text_inside_a_quoted_value_is_no_entry() -> None:
    """Though as many pieces were cut as there are tenants: the second piece lies within the first tenant."""
    before = loaded(file_of('  - id: f\n    face_sets: {x: "y\n  - id: g\nfoo"}\n  - id: n\n'))
    assert isinstance(before, Config)
    assert [tenant.id for tenant in before.tenants] == ["f", "n"]
    after = loaded(file_of(entry("a"), "  - id: g\n"), before)
    assert isinstance(after, Config)
    assert [tenant.id for tenant in after.tenants] == ["a", "g"]


def test_an_alias_means_what_its_anchor_says_now() -> None:
    """The entry's own text has not changed."""
    shares = "  - id: p\n    limits: *l\n"
    before = loaded(file_of("  - id: o\n    limits: &l {concurrency: 3}\n", shares))
    assert isinstance(before, Config)
    after = loaded(file_of("  - id: o\n    limits: &l {concurrency: 4}\n", shares), before)
    assert isinstance(after, Config)
    assert after.tenants[1].limits.concurrency == 4
