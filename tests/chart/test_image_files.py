"""The Dockerfile and what guards the image, without building it."""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scripts.image.overlay import PHOTO
from scripts.image.overlay import main as lay_over
from scripts.image.sbom import main as list_contents
from scripts.image.scan import findings
from tests.support.chart import HOW
from tests.support.tools import ROOT, require_tool

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
# By name, in the order of the file; the last is what is built unless another is named.
STAGES = {stage.split()[3]: stage for stage in re.split(r"^(?=FROM )", DOCKERFILE, flags=re.MULTILINE)[1:]}
# Made here, so that no key lies in the repository.
KEY = b"-----BEGIN " + b"PRIVATE KEY-----\n" + 2 * (64 * b"A" + b"\n") + b"-----END " + b"PRIVATE KEY-----\n"


@pytest.mark.helm
def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile keeps to hadolint's rules, none of them turned off."""
    ran = subprocess.run(
        [require_tool("hadolint", HOW), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "hadolint ignore" not in DOCKERFILE


@pytest.mark.parametrize("image", ["gateway", "sandbox"])
def test_an_image_starts_from_nothing(image: str) -> None:
    """It holds what is copied into it, no base's shell or package manager, and runs nothing while it is built."""
    stage = STAGES[image]
    assert stage.startswith("FROM settings AS ")
    settings = STAGES["settings"]
    assert settings.startswith("FROM scratch AS ")
    assert "\nRUN " not in stage + settings
    assert "USER" not in stage
    assert re.search(r"^USER [1-9][0-9]+:[1-9][0-9]+$", settings, re.MULTILINE)
    assert "\nSTOPSIGNAL SIGTERM\n" in settings
    assert '\nENTRYPOINT ["facegate"]\n' in settings


def _sources(stage: str) -> set[str]:
    """The stages that a stage is made of, however far up."""
    above = {STAGES[stage].split()[1], *re.findall(r"--from=(\S+)", STAGES[stage])} & STAGES.keys()
    return above.union(*(_sources(name) for name in above))


def test_what_decodes_photos_is_in_the_image_for_trials_alone() -> None:
    """Nothing in the last stage, which is the image for production, comes from a stage with Pillow or the sandbox."""
    assert list(STAGES)[-1] == "gateway"
    with_pillow = {name for name, stage in STAGES.items() if "requirements/sandbox.txt" in stage}
    assert with_pillow == {"sandbox-dependencies"}
    assert with_pillow <= _sources("sandbox")
    assert not [name for name in _sources("gateway") | _sources("sbom") if name.startswith("sandbox")]
    assert " /overlay --without gateway/sandbox/\n" in STAGES["application"]


def test_a_public_base_is_named_by_its_digest() -> None:
    """A tag can be moved to another image; whoever builds may name a base of their own."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    outside = {stage.split()[1] for stage in STAGES.values()} - STAGES.keys()
    assert outside == {"${BASE}", "scratch"}


@pytest.mark.parametrize("without", [None, "gateway/sandbox/"])
def test_an_overlay_can_leave_a_part_out(without: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo that a first search names lies at the same place in both images."""
    site = tmp_path / "site-packages"
    files = ("gateway/app.py", "gateway/cli/sandbox.py", "gateway/sandbox/server.py", PHOTO[0])
    for name in files:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("")
    info = site / "made-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made\nVersion: 1\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in files))
    monkeypatch.setenv("PYTHONPATH", str(site))
    overlay = tmp_path / "overlay"
    lay_over(sys.executable, "made", overlay, without)
    laid = {name for name in files if (overlay / str(site / name).lstrip("/")).exists()}
    assert laid == {name for name in files if without is None or not name.startswith(without)}
    assert (overlay / PHOTO[1]).exists()


def test_every_install_is_pinned() -> None:
    """Each installation from an index asks for hashes and takes no source distribution, so nothing is compiled."""
    installs = re.findall(r"pip [^&]*install (?:[^\\&]|\\\n)*", DOCKERFILE)
    assert len(installs) == 5
    for install in installs:
        assert "--no-index" in install or {"--require-hashes", "--only-binary"} <= set(install.split())


def test_context_is_what_is_named() -> None:
    """The build sees listed paths only: neither history nor a secret that lies around gets near an image."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert not [line for line in lines if line.startswith("!") and ("*" in line or not (ROOT / line[1:]).exists())]


def test_image_needs_what_the_product_needs() -> None:
    """What is pinned for the image's extra parts is what is tested: the same versions as in the developers' pins."""
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements/dev.txt").read_text("utf-8"), re.MULTILINE))
    for name in ("runtime", "sandbox"):
        text = (ROOT / f"requirements/{name}.txt").read_text("utf-8")
        for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE):
            assert pinned[package] == version


def test_contents_name_all_that_is_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list holds every distribution, every Debian package, and Python itself where no such package is Python."""
    (tmp_path / "zlib1g").write_text("Package: zlib1g\nVersion: 1:1.2\nArchitecture: amd64\n", "utf-8")

    def listed() -> set[str]:
        list_contents(Path(sys.prefix), tmp_path)
        document = json.loads(capsys.readouterr().out)
        assert document["metadata"]["component"]["name"] == "facegate"
        return {component["purl"] for component in document["components"]}

    python = f"pkg:generic/python@{platform.python_version()}"
    assert {
        python,
        f"pkg:pypi/grpcio@{importlib.metadata.version('grpcio')}",
        "pkg:deb/debian/zlib1g@1%3A1.2?arch=amd64",
    } <= listed()
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-minimal"
    (tmp_path / package).write_text(f"Package: {package}\nVersion: 1\nArchitecture: amd64\n", "utf-8")
    assert python not in listed()


def _image(folder: Path, *layers: dict[str, bytes], settings: bytes = b"{}") -> Path:
    """An archive as `docker save` writes it."""

    def packed(files: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return buffer.getvalue()

    named = {f"{number}.tar": packed(files) for number, files in enumerate(layers)}
    manifest = json.dumps([{"Config": "settings.json", "Layers": list(named)}]).encode()
    archive = folder / "image.tar"
    archive.write_bytes(packed({"manifest.json": manifest, "settings.json": settings, **named}))
    return archive


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (KEY, "private key"),
        (b"fg" + b"_" + 43 * b"x", "token of FaceGate"),
        (b"url: valkey://user:" + b"longsecret@store.example", "password in a URL"),
        (b"X-DF-API-" + b"SECRET: 0123456789abcdef0123", "API secret"),
    ],
)
def test_scan_finds_a_secret_that_a_later_layer_deletes(tmp_path: Path, content: bytes, kind: str) -> None:
    """Each layer is looked at by itself, since whoever pulls the image has all of them."""
    image = _image(tmp_path, {"app/notes.txt": content}, {"app/.wh.notes.txt": b""})
    (found,) = findings(image)
    assert found.startswith("layer 0: /app/notes.txt: ")
    assert kind in found
    assert content.decode() not in found


def test_scan_looks_at_names_and_settings(tmp_path: Path) -> None:
    """Files that never belong into an image are found by name; variables and history are looked at too."""
    settings = json.dumps({"config": {"Env": ["TOKEN=" + "fg" + "_" + 43 * "x"]}}).encode()
    assert len(list(findings(_image(tmp_path, {"etc/pip.conf": b"", "app/.git/config": b""}, settings=settings)))) == 3


def test_scan_passes_a_clean_image(tmp_path: Path) -> None:
    """What libraries hold to write a key is no key."""
    assert not list(findings(_image(tmp_path, {"lib/pem.py": b'HEAD = "-----BEGIN ' + b'PRIVATE KEY-----"\n'})))
