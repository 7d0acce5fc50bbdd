"""SPIFFE ids are read exactly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.spiffe import MAX_LENGTH, parse_spiffe_id


@pytest.mark.parametrize(
    ("uri", "domain"),
    [
        ("spiffe://corp.example/ns/kyc/sa/api", "corp.example"),
        ("spiffe://c/a", "c"),
        ("spiffe://corp_1-x.example/A.b_c-D", "corp_1-x.example"),
        ("spiffe://corp.example/...", "corp.example"),
        ("spiffe://corp.example/" + "a" * (MAX_LENGTH - 22), "corp.example"),
    ],
)
def test_what_the_standard_allows_is_an_id(uri: str, domain: str) -> None:
    """The whole URI is the id, and its authority the trust domain."""
    found = parse_spiffe_id(uri)

    assert found is not None
    assert (found.uri, found.trust_domain) == (uri, domain)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://corp.example",
        "spiffe://corp.example/",
        "spiffe:///ns/kyc",
        "spiffe://corp.example/ns/kyc/",
        "spiffe://corp.example//kyc",
        "spiffe://corp.example/ns/./kyc",
        "spiffe://corp.example/ns/../kyc",
        "spiffe://corp.example/..",
        "spiffe://corp.example/ns/%2e%2e/kyc",
        "spiffe://corp.example/ns/%6byc",
        "spiffe://Corp.example/ns/kyc",
        "SPIFFE://corp.example/ns/kyc",
        "Spiffe://corp.example/ns/kyc",
        "https://corp.example/ns/kyc",
        "spiffe:/corp.example/ns/kyc",
        "spiffe://user@corp.example/ns/kyc",
        "spiffe://corp.example:443/ns/kyc",
        "spiffe://corp.example/ns/kyc?x=1",
        "spiffe://corp.example/ns/kyc#x",
        "spiffe://corp.example/ns/kyc\n",
        " spiffe://corp.example/ns/kyc",
        "spiffe://corp.example/ns/kyc\x00",
        "spiffe://corp.example/ns/kÿc",
        "spiffe://corp.example/ns\\kyc",
        "spiffe://corp.example/" + "a" * (MAX_LENGTH - 21),
        "spiffe://" + "a" * 256 + "/x",
    ],
)
def test_every_other_spelling_is_none(uri: str) -> None:
    """Dots, percent signs, cases, empty segments and the other parts of a URI are refused, not normalised."""
    assert parse_spiffe_id(uri) is None


@settings(deadline=None)
@given(st.text(max_size=60).map("spiffe://corp.example/".__add__) | st.text(max_size=80))
def test_no_text_is_read_as_another_id(uri: str) -> None:
    """Whatever is accepted is the text itself, ASCII, and free of what a path could be rewritten by."""
    found = parse_spiffe_id(uri)

    if found is not None:
        assert found.uri == uri
        assert uri.isascii()
        assert not set("%?#@:") & set(uri.removeprefix("spiffe:"))
        assert not {"", ".", ".."} & set(uri.split("/")[3:])
