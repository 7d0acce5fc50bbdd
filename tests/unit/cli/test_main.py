"""The shell around the commands: help everywhere, wrong usage as one line, statuses."""

from __future__ import annotations

import pytest

from gateway.cli.main import COMMANDS, run
from tests.support.command import Ended

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    monkeypatch.delenv("FACEGATE_TARGET", raising=False)


def facegate(capsys: Capture, *arguments: str) -> Ended:
    status = run(arguments)
    out, err = capsys.readouterr()
    return Ended(status, out, err)


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS), ["config", "check"], ["token", "new"]])
def test_help_is_everywhere(arguments: list[str], capsys: Capture) -> None:
    """`--help` of every command says how it is used and exits 0."""
    result = facegate(capsys, *arguments, "--help")
    assert result.status == 0
    assert result.out.startswith(f"Usage: facegate {' '.join(arguments)}".rstrip())
    assert result.err == ""


@pytest.mark.parametrize("arguments", [[], ["search"], ["config", "check"], ["token", "new"], ["serve"], ["demo"]])
def test_help_has_examples(arguments: list[str], capsys: Capture) -> None:
    """A command that takes arguments shows a call."""
    assert "Example" in (facegate(capsys, *arguments, "--help")).out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["serve", "--nonsense"],
        ["search", "photo.jpg"],
        ["search", "--face-set", "a"],
        ["search", "photo.jpg", "--face-set", "a", "--threshold", "high"],
        ["purge"],
        ["purge", "--all", "--tenant", "a"],
        ["purge", "--face-set", "a"],
        ["usage", "--all-tenants", "--tenant", "a"],
        ["usage", "--start", "yesterday"],
        ["config", "check"],
        ["sandbox", "--listen", "nowhere"],
        ["token", "new"],
        ["token", "new", "Kyc!"],
        ["search", "photo.jpg", "--face-set", "a", "--max-results", str(2**31)],
        ["demo", "--listen", "0.0.0.0:0"],
        ["demo", "--ops-listen", "0.0.0.0:0"],
        ["quota", "--target", "gateway"],
        ["health", "--target", "http://gateway:50051"],
        ["quota", "--client-cert", "cert.pem"],
    ],
)
def test_wrong_usage_is_status_2_and_one_line(arguments: list[str], capsys: Capture) -> None:
    """It says what is wrong and where help is."""
    result = facegate(capsys, *arguments)
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("facegate: ")
    assert result.err.count("\n") == 1
    assert "--help`" in result.err


@pytest.mark.parametrize("arguments", [[], ["config"], ["token"]])
def test_without_a_command_help_is_shown(arguments: list[str], capsys: Capture) -> None:
    """Nothing to do is wrong usage, one line of it, and help is the answer."""
    result = facegate(capsys, *arguments)
    assert result.status == 2
    assert "Commands:" in result.out
    assert result.err == "facegate: a command is missing\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("serch", "search"), ("confg", "config"), ("Quota", "quota"), ("tokens", "token"), ("sandobx", "sandbox")],
)
def test_a_command_that_is_nearly_one(typed: str, meant: str, capsys: Capture) -> None:
    """The one that was meant is named."""
    assert f"did you mean `facegate {meant}`?" in facegate(capsys, typed).err


def test_a_command_that_is_nothing_like_one(capsys: Capture) -> None:
    """All are named."""
    assert all(name in facegate(capsys, "x").err for name in COMMANDS)


def test_the_version(capsys: Capture) -> None:
    """`--version` is one line."""
    result = facegate(capsys, "--version")
    assert result.status == 0
    assert result.out.startswith("facegate ")
    assert result.out.count("\n") == 1
