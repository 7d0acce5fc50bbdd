"""Credentials come from files or the environment; what is wrong with them is said without saying them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.upstream.credentials import CredentialError, CredentialOrigin, CredentialSource

CANARY = "canary-value"


@pytest.fixture
def origin(tmp_path: Path) -> CredentialOrigin:
    """A pair in two files."""
    (tmp_path / "id").write_text("the-id\n")
    (tmp_path / "secret").write_text("the-secret\r\n")
    return CredentialOrigin("primary", api_id_file=tmp_path / "id", api_secret_file=tmp_path / "secret")


def test_files(origin: CredentialOrigin) -> None:
    """One newline at the end, as editors leave it, is no part of the value."""
    credential = origin.read({})
    assert (credential.name, credential.api_id.reveal(), credential.api_secret.reveal()) == (
        "primary",
        "the-id",
        "the-secret",
    )


def test_environment() -> None:
    """Values may come from variables."""
    origin = CredentialOrigin("primary", api_id_env="ID", api_secret_env="SECRET")
    credential = origin.read({"ID": "a", "SECRET": "b c~!"})
    assert (credential.api_id.reveal(), credential.api_secret.reveal()) == ("a", "b c~!")


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (CANARY.encode() + b"\n\n", "an HTTP header cannot carry"),
        (CANARY.encode() + b"\r\nX-Evil: 1", "an HTTP header cannot carry"),
        (CANARY.encode() + "é".encode(), "an HTTP header cannot carry"),
        (CANARY.encode() + b"\x00", "an HTTP header cannot carry"),
        (b"\xef\xbb\xbf" + CANARY.encode(), "an HTTP header cannot carry"),
        (CANARY.encode() + b" ", "begins or ends with a space"),
        (CANARY.encode() * 1000, "is longer than"),
    ],
)
def test_a_value_that_cannot_be_sent(origin: CredentialOrigin, content: bytes, remedy: str) -> None:
    """Empty, non-ASCII and header-unsafe values are refused by key, file and remedy, never by value."""
    assert origin.api_secret_file is not None
    origin.api_secret_file.write_bytes(content)
    with pytest.raises(CredentialError) as caught:
        origin.read({})
    text = str(caught.value)
    assert "upstream.credentials[primary].api_secret_file" in text
    assert str(origin.api_secret_file) in text
    assert remedy in text
    assert CANARY not in text
    assert caught.value.__cause__ is None


def test_a_missing_file(origin: CredentialOrigin) -> None:
    """The key, the path and what to do."""
    assert origin.api_id_file is not None
    origin.api_id_file.unlink()
    with pytest.raises(
        CredentialError, match=r"credentials\[primary\]\.api_id_file: cannot read .*/id .*create the file"
    ):
        origin.read({})


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        (CredentialOrigin("x", api_id_env="ID"), "api_id_env: the environment variable that it names is not set"),
        (CredentialOrigin("x"), "api_id is missing: set api_id_file or api_id_env"),
        (CredentialOrigin("x", api_id_file=Path("a"), api_id_env="ID"), "both set"),
    ],
)
def test_a_pair_that_is_not_there(origin: CredentialOrigin, text: str) -> None:
    """Where the value should be, is said."""
    with pytest.raises(CredentialError) as caught:
        origin.read({})
    assert text in str(caught.value)


def test_a_reload_swaps_the_pair_or_keeps_it(origin: CredentialOrigin) -> None:
    """A good pair is swapped in whole; a bad one leaves the last good one in force."""
    source = CredentialSource.open(origin, {})
    first = source.current
    assert not source.reload()
    assert origin.api_secret_file is not None
    origin.api_secret_file.write_text("")
    with pytest.raises(CredentialError):
        source.reload()
    assert source.current == first
    origin.api_secret_file.write_text("rotated")
    assert source.reload()
    assert source.current.api_secret.reveal() == "rotated"
    assert first.api_secret.reveal() == "the-secret"
