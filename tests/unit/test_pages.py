"""The pages lead somewhere, agree with each other, and name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.cli.main import COMMANDS
from gateway.cli.reference import reference_page
from tests.support.pages import PAGES, blocks, broken_links, prose, section
from tests.support.tools import ROOT

README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    """Of the project's own; others cannot be looked at from here."""
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """A page that is not there, and a heading that is not."""
    (tmp_path / "there.md").write_text("# A `b` (c)\n")
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](gone.md) [b](there.md#x) [c](there.md#a-b-c) [d](#here) [e](https://example.com/)\n")
    assert broken_links(page) == ["gone.md", "there.md#x"]


def test_every_page_is_in_the_order_of_reading() -> None:
    """A page that nobody is led to is not read."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert [name for name in sorted(pages) if f"({name})" not in index] == []


def test_the_reference_of_commands_is_generated() -> None:
    """From the parser: `make generate` after a change of an option."""
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert page == reference_page()
    assert [name for name in COMMANDS if f"## `facegate {name}`" not in page] == []


def test_a_command_on_a_page_exists() -> None:
    """In prose and in what is to be pasted, and so does each of its options."""
    reference = reference_page()
    known = set(re.findall(r"## `facegate ([a-z ]+)`", reference))
    options = set(re.findall(r"(?<!\S)(--[a-z][a-z-]*)", reference)) | {"--version"}
    unknown = []
    for page in PAGES:
        for call in re.findall(r"(?:^|[`$&] ?|\| )facegate ([a-z][^`\n|]*)", page.read_text("utf-8"), re.MULTILINE):
            words = call.split()
            if words[0] not in COMMANDS or (words[0] in ("config", "token") and " ".join(words[:2]) not in known):
                unknown.append(f"{page.name}: {call}")
            unknown += [f"{page.name}: {word}" for word in words if word.startswith("--") and word not in options]
    assert unknown == []


def test_the_pages_agree_on_how_the_cache_store_evicts() -> None:
    """One policy for it everywhere, and `noeviction` for quotas."""
    named = {
        policy
        for page in PAGES
        for policy in re.findall(r"\b(?:allkeys|volatile)-(?:lru|lfu|ttl|random)\b", page.read_text("utf-8"))
    }
    assert named == {"allkeys-lru"}


def test_the_pages_agree_on_users_in_store_urls() -> None:
    """The setting takes one, so no page says otherwise."""
    texts = " ".join(" ".join(prose(page).split()) for page in PAGES)
    assert "`USER@` before the host names an ACL user" in texts
    assert "URL holds no user" not in texts


def test_the_pages_agree_on_when_a_stores_password_is_read() -> None:
    """Again when its file changes, as `tests/integration/identity/test_store_passwords.py` shows."""
    lines = [
        line
        for page in PAGES
        for line in page.read_text("utf-8").splitlines()
        if re.search(r"password(_file|Secret)` ", line) and "|" in line
    ]
    assert len(lines) >= 4
    assert [line for line in lines if "re-read when it changes" not in line] == []


def test_yq_prints_text_and_not_json() -> None:
    """Without `-r` one of the two programs of that name prints the file as a JSON string."""
    calls = [line for page in PAGES for line in page.read_text("utf-8").splitlines() if re.search(r"\byq ", line)]
    assert calls
    assert [line for line in calls if "yq -r " not in line] == []


def test_the_readme_names_the_image_that_make_builds() -> None:
    """By its version, which is in `pyproject.toml`."""
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert f"localhost/facegate-sandbox:{version[1]} demo" in README


def test_the_readme_has_one_way_to_call_per_client() -> None:
    """What `tests/integration/test_readme.py` runs is there."""
    calls = section(README, "Call it")
    assert len(blocks(calls, "sh")) == 2
    assert len(blocks(calls, "python")) == 1
    assert "make demo" in blocks(section(README, "Try it"), "sh")[0]
