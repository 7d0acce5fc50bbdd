"""Puts a root file system together from what an environment's Python loads, and nothing else.

    root.py ENVIRONMENT FOLDER

That is: the interpreter, the standard library without its parts for developers, the shared libraries that either or
the environment's packages link to, the authorities of TLS, and the few files that glibc looks for. Beside each goes
the entry of the Debian package that it came from, in the place where scanners look in images without a package manager.
"""

# ruff: noqa: S603, S607 - it runs while the image is built, and starts the programs of the base image.
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Never needed to serve; `ensurepip` and `venv` carry an installer.
LEFT_OUT = re.compile(
    r"(^|/)(__pycache__|config-[^/]*|curses|dbm|dist-packages|distutils|ensurepip|idlelib|lib2to3|pydoc_data|site-packages"
    r"|sqlite3|test|tests|tkinter|turtledemo|venv)(/|$)"
    # Each of these would bring libraries along that nothing here calls: Kerberos by way of NIS, databases, terminals.
    r"|^lib-dynload/(_ctypes_test|_curses|_dbm|_gdbm|_sqlite3|_test|_tkinter|_xx|nis|ossaudiodev|readline|xx)"
)
# glibc opens it by name when a thread ends; no library links to it.
BY_NAME = ("libgcc_s.so.1",)
SYSTEM_FILES = (
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/ssl/certs/ca-certificates.crt",
    "/usr/lib/os-release",
)
USER = 65532
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def main(environment: Path, root: Path) -> None:
    """Fills `root`."""
    base = Path(sysconfig.get_path("stdlib"))
    files = {path for path in base.rglob("*") if not LEFT_OUT.search(str(path.relative_to(base))) and _is_file(path)}
    # Debian keeps its start-up hooks outside; without them the links to them would dangle.
    files |= {Path(os.path.realpath(path)) for path in files if path.is_symlink()}
    programs = set(_links_to(environment / "bin" / "python"))
    objects = [*programs, *files, *environment.rglob("*.so*")]
    libraries = set(_libraries(path for path in objects if _is_elf(path)))
    system = {Path(name) for name in SYSTEM_FILES if Path(name).exists()}
    copied = {*files, *programs, *libraries, *system}
    for link in ("bin", "lib", "lib32", "lib64", "sbin"):
        if Path("/", link).is_symlink():
            (root / link).parent.mkdir(parents=True, exist_ok=True)
            (root / link).symlink_to(Path("/", link).readlink())
    for path in sorted(copied):
        _copy(path, root)
    _compile(base, root)
    _settings(root)
    _packages(copied, root / "var/lib/dpkg/status.d")


def _is_file(path: Path) -> bool:
    return path.exists() and not path.is_dir()


def _is_elf(path: Path) -> bool:
    with path.open("rb") as opened:
        return opened.read(4) == b"\x7fELF"


def _links_to(path: Path) -> Iterator[Path]:
    """Every link on the way to the file behind `path`, and that file; without what lies in the environment."""
    while True:
        if not path.is_relative_to("/opt"):
            yield path
        if not path.is_symlink():
            return
        path = path.parent / path.readlink()


def _libraries(objects: Iterable[Path]) -> Iterator[Path]:
    for path in objects:
        ran = subprocess.run(["ldd", str(path)], check=False, capture_output=True, text=True)
        if "not found" in ran.stdout:
            sys.exit(f"{path} needs a library that the base image lacks:\n{ran.stdout}")
        for name in _LIBRARY.findall(ran.stdout):
            if not name.startswith("/opt/"):
                yield from _links_to(Path(name))
    for name in BY_NAME:
        yield from _links_to(next(Path("/usr/lib").rglob(name)))


def _copy(path: Path, root: Path) -> None:
    # Through `/lib -> usr/lib` and the like, one file has several names; it goes to its real place.
    real = Path(os.path.realpath(path.parent)) / path.name
    target = root / str(real).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink() and not target.exists():
        shutil.copy2(real, target, follow_symlinks=False)


def _compile(base: Path, root: Path) -> None:
    copied = root / str(base).lstrip("/")
    options = ["-m", "compileall", "-q", "-j", "0", "-s", str(root), "-p", "/", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([sys.executable, *options, str(copied)], check=True)


def _settings(root: Path) -> None:
    (root / "etc/passwd").write_text(f"facegate:x:{USER}:{USER}::/nonexistent:/nonexistent\n", "utf-8")
    (root / "etc/group").write_text(f"facegate:x:{USER}:\n", "utf-8")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def _packages(copied: Iterable[Path], into: Path) -> None:
    into.mkdir(parents=True)
    names = {form for path in copied for form in (str(path), os.path.realpath(path), f"/usr{path}")}
    names |= {name.removeprefix("/usr") for name in names}
    found = subprocess.run(["dpkg-query", "-S", *sorted(names)], check=False, capture_output=True, text=True)
    packages = {
        line.partition(": ")[0].partition(":")[0] for line in found.stdout.splitlines() if "diversion" not in line
    }
    for package in sorted(packages):
        entry = subprocess.run(["dpkg-query", "-s", package], check=True, capture_output=True, text=True)
        (into / package).write_text(entry.stdout, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
