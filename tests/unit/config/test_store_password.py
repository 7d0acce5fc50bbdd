"""A store's password is read again within its limit, and a file that cannot be used changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.config.files import MAX_SECRET_BYTES
from gateway.config.store_access import StorePassword


def test_a_file_that_is_no_password_leaves_the_last_good_one(tmp_path: Path) -> None:
    """A wrong path, such as that of a log, is not read to its end; the message names the limit, not the content."""
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    password = StorePassword("stores.quota_password_file", file)
    for content in (b"x" * (MAX_SECRET_BYTES + 1), b"\xff\xfe"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"^stores\.quota_password_file: ") as raised:
            password.reload()
        assert "hunter2" not in str(raised.value)
        assert password() == "hunter2"
    file.write_bytes(b"x" * MAX_SECRET_BYTES)
    password.reload()
    assert len(password()) == MAX_SECRET_BYTES
