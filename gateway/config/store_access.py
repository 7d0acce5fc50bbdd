"""How a store is reached: its address, and the login that is never in YAML.

A password is read when a store is opened and when its file changes. It is in the object that is returned and nowhere
else, as a `Secret`: neither `vars` nor a copy shows it, and nothing pickles it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.files import MAX_SECRET_BYTES, shown_path
from gateway.config.problems import ConfigError
from gateway.config.stores import StoresConfig
from gateway.files import FileTooLarge, read_file
from gateway.secret import Secret


class StorePassword:
    """Gives the password in force, empty without a `file`. Call it for every connection: the file may have changed."""

    def __init__(self, key: str, file: Path | None) -> None:
        """Reads the file. Raises `ConfigError` as `reload` does; `key` names the setting in it."""
        self.file = file
        self._key = key
        self._secret = Secret("")
        self.reload()

    def __call__(self) -> str:
        """The password. Send it, and keep no reference to it."""
        return self._secret.reveal()

    def reload(self) -> None:
        """Reads the file again. Raises `ConfigError`, and keeps the password that it has, if it cannot be read."""
        if self.file is None:
            return
        try:
            self._secret = Secret(read_file(self.file, MAX_SECRET_BYTES).decode("utf-8").rstrip("\r\n"))
        except FileTooLarge:
            text = f"is longer than {MAX_SECRET_BYTES} bytes: name the file of the password"
            raise ConfigError((f"{self._key}: {shown_path(self.file)} {text}",)) from None
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                (f"{self._key}: cannot read {shown_path(self.file)}: let the gateway's user read it",)
            ) from None


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """`url` without the user's name; `ca_file` verifies a `valkeys://` server, None means the system's authorities."""

    url: str
    username: str
    password: StorePassword
    ca_file: Path | None

    @property
    def in_memory(self) -> bool:
        """Whether the store is this process."""
        return self.url.startswith("memory:")


def quota_access(stores: StoresConfig) -> StoreAccess:
    """Of the quota store. Raises `ConfigError` for a password file that cannot be read."""
    return _access(stores.quota, "stores.quota_password_file", stores.quota_password_file, stores.ca_file)


def cache_access(stores: StoresConfig) -> StoreAccess:
    """Of the cache store. Raises `ConfigError` for a password file that cannot be read."""
    return _access(stores.cache, "stores.cache_password_file", stores.cache_password_file, stores.ca_file)


def _access(url: str, key: str, password_file: Path | None, ca_file: Path | None) -> StoreAccess:
    scheme, _, rest = url.partition("://")
    username, _, hosts = rest.rpartition("@")
    return StoreAccess(f"{scheme}://{hosts}", username, StorePassword(key, password_file), ca_file)
