"""A store's password is given to whoever connects, and to nobody by accident."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import cast

import pytest

from gateway.config.store_access import StoreAccess, quota_access
from gateway.config.stores import StoresConfig

PASSWORD = "canary-password-0815"


@pytest.fixture
def access(tmp_path: Path) -> StoreAccess:
    """Of a store with a password."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return quota_access(StoresConfig(quota="valkey://store:6379/0", quota_password_file=file))


def test_whoever_connects_gets_the_password_in_force(access: StoreAccess) -> None:
    """The one of the file as it was last read."""
    assert access.password() == PASSWORD
    cast("Path", access.password.file).write_text("another")
    assert access.password() == PASSWORD
    access.password.reload()
    assert access.password() == "another"


def test_no_accident_gives_it_away(access: StoreAccess) -> None:
    """Neither what holds it nor a copy prints it, nor can either be pickled."""
    copied = copy.deepcopy(access)
    for held in (access, copied, access.password, copied.password, copy.copy(access.password)):
        assert PASSWORD not in repr(held)
        if hasattr(held, "__dict__"):
            assert PASSWORD not in repr(vars(held))
        with pytest.raises(TypeError):
            pickle.dumps(held)
    assert copied.password() == PASSWORD
