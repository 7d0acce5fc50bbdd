"""Bodies are cut into fields as RFC 7578 and the urlencoded form say, and refused if they are broken."""

from __future__ import annotations

import pytest
from aiohttp import FormData
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox import form
from gateway.sandbox.verdicts import Refused, VendorStatus

MULTIPART = "multipart/form-data; boundary=b"


def part(headers: str, content: bytes) -> bytes:
    return b"--b\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n"


def field(name: str, content: bytes = b"x") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', content)


@given(st.dictionaries(st.sampled_from(["name", "file", "topN", "ä"]), st.binary(max_size=300)))
def test_what_a_client_packs_is_what_comes_out(fields: dict[str, bytes]) -> None:
    """Any bytes in any field, whatever line ends and dashes they hold."""
    body = b"".join(field(name, content) for name, content in fields.items() if b"\r\n--b" not in content)
    kept = {name: content for name, content in fields.items() if b"\r\n--b" not in content}
    if kept:
        assert form.parse(MULTIPART, body + b"--b--\r\n") == kept


def test_the_dialects_of_clients_are_understood() -> None:
    """A preamble, an epilogue, unquoted names, other header cases and orders, quoted boundaries, empty contents."""
    body = (
        b"preamble\r\n"
        + part("content-type: image/png\r\nCONTENT-DISPOSITION: form-data; filename=x; name=file", b"1\r\n2")
        + field("name", b"")
        + b"--b--\r\nepilogue"
    )
    assert form.parse('Multipart/Form-Data; charset=utf-8; boundary="b"', body) == {"file": b"1\r\n2", "name": b""}


def test_a_filename_is_not_taken_for_the_name() -> None:
    """`filename` ends in `name`, and may come first."""
    headers = 'Content-Disposition: form-data; filename="name.jpg"; name="file"'
    assert form.parse(MULTIPART, part(headers, b"x") + b"--b--") == {"file": b"x"}


def test_urlencoded_fields_are_decoded() -> None:
    """Percent signs, plus signs, empty values and bytes that are not UTF-8."""
    assert form.parse("application/x-www-form-urlencoded", b"name=a%2Bb+c&x=&y=%ff") == {
        "name": b"a+b c",
        "x": b"",
        "y": b"\xff",
    }


BROKEN = {
    "another type": ("application/json", b"{}"),
    "no type": ("", b"name=demo"),
    "no boundary": ("multipart/form-data", field("name") + b"--b--"),
    "a foreign boundary": ("multipart/form-data; boundary=c", field("name") + b"--b--"),
    "nothing": (MULTIPART, b""),
    "no end": (MULTIPART, field("name")[:-2]),
    "no end of the headers": (MULTIPART, b"--b\r\nContent-Disposition: form-data; name=x\r\n--b--"),
    "no name": (MULTIPART, part("Content-Disposition: form-data", b"x") + b"--b--"),
    "a field twice": (MULTIPART, field("name") * 2 + b"--b--"),
    "a field twice, urlencoded": ("application/x-www-form-urlencoded", b"name=a&name=b"),
    "too many fields": (MULTIPART, b"".join(field(f"f{i}") for i in range(40)) + b"--b--"),
    "too many fields, urlencoded": ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % i for i in range(40))),
    "long headers": (
        MULTIPART,
        part("X: " + "y" * 5000 + "\r\nContent-Disposition: form-data; name=x", b"") + b"--b--",
    ),
    "a name that is no text": (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--'),
    "bytes in an urlencoded body": ("application/x-www-form-urlencoded", b"name=\xff"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_body_is_refused(what: str) -> None:
    """INVALID_ARGUMENT, never an exception of a parser."""
    with pytest.raises(Refused) as refused:
        form.parse(*BROKEN[what])
    assert refused.value.status is VendorStatus.INVALID_ARGUMENT


@given(st.binary(max_size=400), st.sampled_from([MULTIPART, "application/x-www-form-urlencoded"]))
def test_any_bytes_are_fields_or_refused(body: bytes, content_type: str) -> None:
    """No other exception leaves the parser."""
    for hostile in (body, b"--b" + body, field("name") + body):
        try:
            form.parse(content_type, hostile)
        except Refused:
            continue


async def test_aiohttps_own_forms_are_understood() -> None:
    """A client library's real body, part headers and boundary included."""
    data = FormData({"name": "demo"}, default_to_multipart=True)
    data.add_field("file", b"\r\n--\0", filename="a b.jpg", content_type="image/jpeg")
    writer = data()
    assert form.parse(writer.content_type + f"; boundary={writer.boundary}", await writer.as_bytes()) == {  # type: ignore[attr-defined]
        "name": b"demo",
        "file": b"\r\n--\0",
    }
