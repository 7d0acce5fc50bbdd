"""`facegate search` against a server on a real socket: what is sent, what is shown, what is never lost."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.command import ended, facegate, on_a_terminal, started
from tests.support.face_search_servicer import FakeGateway, fake_gateway, one_match, rejected
from tests.support.images import jpeg
from tests.support.pki import Authority


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos and a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "b.jpeg", "c.PNG"):
        (folder / name).write_bytes(jpeg(128, 128))
    (folder / "notes.txt").write_text("not a photo")
    return folder


async def test_a_search_prints_its_matches(photos: Path) -> None:
    """The parameters arrive as they were given, the ids come back whole, and off a terminal nothing is coloured."""
    async with fake_gateway() as (fake, address):
        result = await facegate(
            *("search", str(photos / "a.jpg"), "--face-set", "employees", "--target", address),
            *("--threshold", "0", "--max-results", "3"),
        )
    assert result.status == 0
    assert result.out == f"{photos}/a.jpg  matched  1  435449455488008194  0.985  2022-11-22 00:41:42Z  miss\n"
    assert result.err == ""
    [request] = fake.requests
    assert request.face_set == "employees"
    assert request.image.content == jpeg(128, 128)
    assert request.HasField("threshold")
    assert request.threshold == 0
    assert request.max_results == 3


async def test_an_image_may_come_by_standard_input(photos: Path) -> None:
    """`-`: a photo that is piped is never a file. Without anything in it nothing is sent."""
    async with fake_gateway() as (fake, address):
        call = ("search", "-", "--face-set", "e", "--target", address)
        result = await facegate(*call, given=jpeg(128, 128))
        empty = await facegate(*call, given=b"")
    assert result.status == 0
    assert result.out.startswith("-  matched  1  ")
    assert [request.image.content for request in fake.requests] == [jpeg(128, 128)]
    assert (empty.status, empty.err) == (1, "facegate: -: NOT_SENT: standard input is empty\n")


async def test_what_is_not_given_is_left_to_the_gateway(photos: Path) -> None:
    """Defaults are the server's: absent parameters stay absent."""
    async with fake_gateway() as (fake, address):
        await facegate("search", str(photos / "a.jpg"), "--face-set", "e", environ={"FACEGATE_TARGET": address})
    [request] = fake.requests
    assert not request.HasField("threshold")
    assert not request.HasField("max_results")


async def test_a_folder_is_searched_in_json(photos: Path) -> None:
    """One line of JSON an image; files of other kinds are left out."""
    async with fake_gateway() as (_, address):
        result = await facegate("search", str(photos), "--face-set", "e", "--target", address, "--json")
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert sorted(Path(line["image"]).name for line in lines) == ["a.jpg", "b.jpeg", "c.PNG"]
    assert lines[0]["response"]["matches"][0]["face_id"] == "435449455488008194"


async def test_a_terminal_gets_a_table_and_several_images_a_progress_bar(photos: Path) -> None:
    """Short names in a table with a heading, drawn once when all are there; while they are not, how many are."""
    async with fake_gateway() as (_, address):
        several = await on_a_terminal("search", str(photos), "--face-set", "e", "--target", address)
        one = await on_a_terminal("search", str(photos / "a.jpg"), "--face-set", "e", "--target", address)
    assert (several.status, one.status) == (0, 0)
    assert "searching" in several.out
    assert "0/3" in several.out
    assert "searching" not in one.out
    lines = several.out.splitlines()
    (heading,) = [line for line in lines if all(word in line for word in ("image", "person", "face", "score"))]
    rows = lines[lines.index(heading) :]
    for name in ("a.jpg", "b.jpeg", "c.PNG"):
        (row,) = [line for line in rows if name in line]
        assert "435449455488008194" in row
        assert str(photos) not in row


async def test_an_error_is_one_line_with_its_details(photos: Path) -> None:
    """Reason, message, violations, when to try again and the request id; the others' answers are not lost."""

    async def answer(fake: FakeGateway, request: Any, context: Any) -> Any:
        return await (rejected if len(fake.requests) == 1 else one_match)(fake, request, context)

    async with fake_gateway(answer) as (_, address):
        result = await facegate(
            "search", str(photos), "--face-set", "e", "--target", address, "--concurrency", "1", "--json"
        )
    assert result.status == 1
    assert result.err == (
        f"facegate: {photos}/a.jpg: INVALID_ARGUMENT IMAGE_REJECTED: the image cannot be searched; "
        "image: must be a JPEG or PNG file; try again in 3 s; request id r-2\n"
    )
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert lines[0]["error"]["reason"] == "IMAGE_REJECTED"
    assert lines[0]["error"]["violations"] == [{"field": "image", "description": "must be a JPEG or PNG file"}]
    assert [("response" in line) for line in lines] == [False, True, True]


async def test_a_hostile_message_cannot_break_the_line(photos: Path) -> None:
    """Control characters of a server are not written to the terminal."""

    async def answer(fake: FakeGateway, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.INTERNAL, "a\nb\x1b[31m", (("grpc-status-details-bin", b"\xff\xff"),))

    async with fake_gateway(answer) as (_, address):
        result = await facegate("search", str(photos / "a.jpg"), "--face-set", "e", "--target", address)
    assert result.status == 1
    assert result.err.count("\n") == 1
    assert "\x1b" not in result.err


async def test_files_that_are_not_worth_sending(tmp_path: Path) -> None:
    """A missing or too large file is a line; nothing is sent for it."""
    (tmp_path / "large.jpg").write_bytes(bytes(5_242_881))
    async with fake_gateway() as (fake, address):
        result = await facegate(
            "search", str(tmp_path / "gone.jpg"), str(tmp_path / "large.jpg"), "--face-set", "e", "--target", address
        )
    assert result.status == 1
    assert "NOT_SENT: the file cannot be read (No such file or directory)" in result.err
    assert "NOT_SENT: the file is larger than 5242880 bytes" in result.err
    assert fake.requests == []


async def test_an_unavailable_gateway_is_tried_again_with_a_large_image(tmp_path: Path) -> None:
    """UNAVAILABLE is retried by gRPC, also for an image above gRPC's default retry buffer of 256 KiB."""
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(128, 128) + bytes(1_000_000))

    async def answer(fake: FakeGateway, request: Any, context: Any) -> Any:
        if len(fake.requests) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return await one_match(fake, request, context)

    async with fake_gateway(answer) as (fake, address):
        result = await facegate("search", str(photo), "--face-set", "e", "--target", address)
    assert result.status == 0
    assert len(fake.requests) == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL])
async def test_other_errors_are_not_tried_again(code: grpc.StatusCode, photos: Path) -> None:
    """A quota that is used up is not hammered."""

    async def answer(fake: FakeGateway, request: Any, context: Any) -> Any:
        await context.abort(code, "no")

    async with fake_gateway(answer) as (fake, address):
        result = await facegate("search", str(photos / "a.jpg"), "--face-set", "e", "--target", address)
    assert result.status == 1
    assert len(fake.requests) == 1


async def test_searches_at_once_are_bounded(tmp_path: Path) -> None:
    """Many images do not mean many calls at once."""
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(128, 128))

    async def answer(fake: FakeGateway, request: Any, context: Any) -> Any:
        if fake.in_flight == 3:
            fake.released.set()
        await asyncio.wait_for(fake.released.wait(), 60)
        return await one_match(fake, request, context)

    async with fake_gateway(answer) as (fake, address):
        result = await facegate("search", str(tmp_path), "--face-set", "e", "--target", address, "--concurrency", "3")
    assert result.status == 0
    assert len(result.out.splitlines()) == 20
    assert fake.most_in_flight == 3


async def test_an_interrupt_loses_nothing(photos: Path) -> None:
    """What was answered before Ctrl-C is printed, and the exit status is 130."""

    async def answer(fake: FakeGateway, request: Any, context: Any) -> Any:
        if len(fake.requests) == 3:
            fake.released.set()
            await asyncio.Event().wait()
        return await one_match(fake, request, context)

    async with fake_gateway(answer) as (fake, address):
        process = await started("search", str(photos), "--face-set", "e", "--target", address, "--concurrency", "1")
        await asyncio.wait_for(fake.released.wait(), 60)
        process.send_signal(signal.SIGINT)
        result = await ended(process)
    assert result.status == 130
    assert len(result.out.splitlines()) == 2
    assert "Traceback" not in result.err


async def test_a_token_is_sent_over_tls_and_never_shown(photos: Path, tmp_path: Path) -> None:
    """The token comes from a file, goes into the metadata, and the certificate is verified."""
    authority = Authority()
    server = authority.server("localhost")
    credentials = grpc.ssl_server_credentials([(server.key, server.certificate)])
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "wrong.pem").write_bytes(Authority().pem)
    (tmp_path / "token").write_text("fg_hunter2\n")
    (tmp_path / "token").chmod(0o600)
    call = ("search", str(photos / "a.jpg"), "--face-set", "e", "--token-file", str(tmp_path / "token"))
    async with fake_gateway(credentials=credentials) as (fake, address):
        target = address.replace("127.0.0.1", "localhost")
        good = await facegate(*call, "--target", target, "--tls-ca", str(tmp_path / "ca.pem"))
        bad = await facegate(*call, "--target", target, "--tls-ca", str(tmp_path / "wrong.pem"), "--timeout", "3")
    assert (good.status, bad.status) == (0, 1)
    assert fake.tokens == ["Bearer fg_hunter2"]
    assert "hunter2" not in good.out + good.err + bad.out + bad.err
    assert bad.err.count("\n") == 1


@pytest.mark.parametrize("content", ["", "two words", "line\nline", "\x00", "ü"])
async def test_a_token_file_without_a_token(content: str, photos: Path, tmp_path: Path) -> None:
    """What cannot be a token is refused before anything is sent, and not repeated."""
    (tmp_path / "token").write_text(content)
    result = await facegate("search", str(photos / "a.jpg"), "--face-set", "e", "--token-file", str(tmp_path / "token"))
    assert result.status == 1
    assert "does not hold a token" in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(("mode", "warnings"), [(0o644, 1), (0o640, 1), (0o604, 1), (0o600, 0), (0o400, 0)])
async def test_a_token_file_that_others_can_read_is_warned_of(mode: int, warnings: int, tmp_path: Path) -> None:
    """In one line, and the call goes on."""
    token = tmp_path / "token"
    token.write_text("fg_hunter2")
    token.chmod(mode)
    async with fake_gateway() as (fake, address):
        result = await facegate("quota", "--target", address, "--token-file", str(token))
    assert result.status == 0
    assert fake.tokens == ["Bearer fg_hunter2"]
    assert result.err.count("\n") == warnings
    assert result.err.startswith("facegate: warning: other users can read ") is (warnings == 1)


async def test_a_token_file_without_end_is_not_read_to_its_end() -> None:
    """A megabyte is more than any token or list of authorities."""
    for option in ("--token-file", "--tls-ca"):
        result = await facegate("quota", "--target", "127.0.0.1:1", option, "/dev/zero")
        assert result.status == 1
        assert result.err == f"facegate: {option}: /dev/zero is larger than 1048576 bytes\n"
