"""A volume as Kubernetes mounts a ConfigMap or a Secret."""

from __future__ import annotations

from pathlib import Path


class Mounted:
    """A folder whose files are links into `..data`, itself a link that is swapped in one rename."""

    def __init__(self, folder: Path, **files: bytes) -> None:
        self.folder = folder
        self._versions = 0
        self._files: dict[str, bytes] = {}
        folder.mkdir(exist_ok=True)
        self.swap(**files)
        for name in files:
            (folder / name).symlink_to(Path("..data") / name)

    def __getitem__(self, name: str) -> Path:
        """The path of a file, as a configuration names it."""
        return self.folder / name

    def swap(self, **files: bytes) -> None:
        """Puts a new version of all files in place at once; those that are not named stay as they are."""
        self._files |= files
        self._versions += 1
        version = self.folder / f"..version_{self._versions}"
        version.mkdir()
        for name, content in self._files.items():
            (version / name).write_bytes(content)
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").replace(self.folder / "..data")
