"""How a store is reached: its address, and the login that is never in YAML.

Read when a store is opened; a password is in the object that is returned and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.problems import ConfigError
from gateway.config.stores import StoresConfig


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """`url` without the user's name; `ca_file` verifies a `valkeys://` server, None means the system's authorities."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None

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
    password = ""
    if password_file is not None:
        try:
            password = password_file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigError((f"{key}: cannot read {password_file}: let the gateway's user read it",)) from None
    return StoreAccess(f"{scheme}://{hosts}", username, password, ca_file)
