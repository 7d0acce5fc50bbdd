"""The password of a store: in the object that gives it, and in nothing that prints, copies or stores that object."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import pprint
import traceback
from pathlib import Path

import pytest

from gateway.config.problems import ConfigError
from gateway.config.store_access import StoreAccess, StorePassword, quota_access
from gateway.config.stores import StoresConfig
from gateway.quota.lane import Address
from gateway.quota.link import link_to

CANARY = "canary-password-0815"


@pytest.fixture
def access(tmp_path: Path) -> StoreAccess:
    file = tmp_path / "password"
    file.write_text(CANARY + "\n")
    return quota_access(StoresConfig(quota="valkey://facegate@store:6379/0", quota_password_file=file))


def everything(value: object, depth: int = 6) -> str:
    """What `vars`, slots, lists and mappings show of an object, and of what is in it."""
    text = repr(value)
    if depth:
        inner = list(vars(value).values()) if hasattr(value, "__dict__") else []
        inner += [getattr(value, name) for name in getattr(value, "__slots__", ()) if not name.startswith("_")]
        if isinstance(value, dict):
            inner += value.values()
        if isinstance(value, (list, tuple)):
            inner += value
        text += "".join(everything(one, depth - 1) for one in inner)
    return text


def traced(value: object) -> str:
    try:
        raise RuntimeError
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_nothing_shows_it(access: StoreAccess) -> None:
    """`vars`, copies, printing, and what holds it further in: the address and the link of the quota store."""
    assert access.password() == CANARY
    link = link_to(access.url, username=access.username, password=access.password)
    address = Address("store", 6379, 0, access.username, access.password)
    for value in (access, access.password, vars(access.password), address, link):
        for shown in (value, copy.copy(value), copy.deepcopy(value) if value is not link else value):
            for text in (everything(shown), pprint.pformat(shown), traced(shown), str(shown)):
                assert CANARY not in text
    assert CANARY not in repr(dataclasses.asdict(access))
    assert copy.deepcopy(access).password() == CANARY


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_pickles_it(access: StoreAccess, protocol: int) -> None:
    """No protocol writes it, nor an object that holds it."""
    for value in (access, access.password, vars(access.password)):
        with pytest.raises(TypeError, match="secret cannot be serialized"):
            pickle.dumps(value, protocol)


def test_it_is_read_again_and_kept_if_that_fails(access: StoreAccess) -> None:
    """The one in force stays until there is another."""
    assert access.password.file is not None
    access.password.file.write_text("another\n")
    access.password.reload()
    assert access.password() == "another"
    access.password.file.unlink()
    with pytest.raises(ConfigError) as error:
        access.password.reload()
    assert access.password() == "another"
    assert "another" not in str(error.value)


def test_without_a_file_it_is_empty() -> None:
    """A store without a password is asked without one."""
    assert StorePassword("stores.quota_password_file", None)() == ""
