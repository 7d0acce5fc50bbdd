"""What the vendor is sent: the whole form, the secrets, and nothing of the caller."""

from __future__ import annotations

import base64

import pytest

from gateway.model import ImageFormat
from gateway.secret import Secret
from gateway.upstream.credentials import Credential, CredentialSource
from gateway.upstream.form import CHUNK_BYTES
from tests.support.vendor import OK, Vendor, always
from tests.support.vendor_client import API_ID, API_SECRET, client, query, trip


@pytest.mark.parametrize("size", [0, 10, 100_000, CHUNK_BYTES, CHUNK_BYTES + 1, 5_242_880])
async def test_the_form(size: int) -> None:
    """Every parameter goes out explicitly, and the image unchanged, whatever its size."""
    image = bytes(range(256)) * (size // 256) + b"\r\n--" * (size % 256 // 4)
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(image, threshold=0.65, max_results=10), trip())
    (request,) = vendor.received
    assert request.line == "POST /faceset/v2/search_face HTTP/1.1"
    assert request.fields() == {
        "name": b"employees-prod",
        "threshold": b"0.65",
        "start_time": b"1690000000",
        "topN": b"10",
        "file": image,
    }


@pytest.mark.parametrize(
    ("image_format", "name", "kind"),
    [(ImageFormat.JPEG, b"image.jpg", b"image/jpeg"), (ImageFormat.PNG, b"image.png", b"image/png")],
)
async def test_the_part_of_the_image(image_format: ImageFormat, name: bytes, kind: bytes) -> None:
    """The file's name is constant and its type is the image's."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(image_format=image_format), trip())
    assert b'name="file"; filename="%b"\r\nContent-Type: %b\r\n\r\n' % (name, kind) in vendor.received[0].body


@pytest.mark.parametrize("size", [0, 1, 2, 10, 400_001, 5_242_880])
async def test_base64(size: int) -> None:
    """With `image_encoding: base64` the image goes as a field, and not as a file."""
    image = (b"\xfb\xff\x00" * (size // 3 + 1))[:size]
    async with Vendor(always(OK)) as vendor, client(vendor.base_url, image_encoding="base64") as upstream:
        await upstream.search(query(image), trip())
    fields = vendor.received[0].fields()
    assert base64.b64decode(fields["image_base64"], validate=True) == image
    assert "file" not in fields


@pytest.mark.parametrize("name", ['"; filename="x', "a\r\nX-Evil: 1\r\n\r\nb", "--boundary--", "лица-人", "", "\r\n--"])
async def test_a_face_set_s_name_stays_in_its_part(name: str) -> None:
    """No name of a face set can end its part or begin another."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(face_set=name), trip())
    fields = vendor.received[0].fields()
    assert fields["name"] == name.encode()
    assert list(fields) == ["name", "threshold", "start_time", "topN", "file"]


async def test_boundaries_differ() -> None:
    """A boundary is random a call, so no image can be made to contain it."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        for _ in range(20):
            await upstream.search(query(), trip())
    assert len({request.headers["content-type"] for request in vendor.received}) == 20


async def test_the_headers_are_these_alone() -> None:
    """The vendor learns nothing of the caller: no trace, no id, no cookie, no library and its version."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url) as upstream:
        await upstream.search(query(), trip())
    headers = dict(vendor.received[0].headers)
    del headers["content-type"], headers["content-length"]
    assert headers == {
        "host": f"127.0.0.1:{vendor.port}",
        "x-df-api-id": API_ID,
        "x-df-api-secret": API_SECRET,
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "facegate",
    }


@pytest.mark.parametrize("base", ["", "/", "/vendor/v9", "/vendor%20x/"])
async def test_a_base_url_with_a_path(base: str) -> None:
    """The API's path is appended to whatever path the base has."""
    async with Vendor(always(OK)) as vendor, client(vendor.base_url + base) as upstream:
        await upstream.search(query(), trip())
    assert vendor.received[0].line.split()[1] == base.rstrip("/") + "/faceset/v2/search_face"


async def test_a_credential_that_changes() -> None:
    """The next search after a reload carries the new pair."""
    pairs = iter([Credential("primary", Secret("id-2"), Secret("secret-2"))])
    source = CredentialSource(Credential("primary", Secret("id-1"), Secret("secret-1")), lambda: next(pairs))
    async with Vendor(always(OK)) as vendor, client(vendor.base_url, credentials=source) as upstream:
        await upstream.search(query(), trip())
        assert source.reload()
        await upstream.search(query(), trip())
    assert [request.headers["x-df-api-secret"] for request in vendor.received] == ["secret-1", "secret-2"]
