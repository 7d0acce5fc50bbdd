"""Permissions by role, and face sets by the tenant's list."""

from __future__ import annotations

import pytest

from gateway.auth.authorizer import PERMISSIONS, Permission, require, resolve_face_set
from gateway.errors import FaceSetNotAllowed, OperationNotAllowed
from gateway.model import Principal, Role, Tenant

CALLER = Principal(Tenant("kyc", Role.CALLER, {"employees": "employees-prod"}), "token")
OPERATOR = Principal(Tenant("ops", Role.OPERATOR), "token")


def test_every_role_has_its_permissions_listed() -> None:
    """A role that is missing from the table would make every call of it fail."""
    assert set(PERMISSIONS) == set(Role)


@pytest.mark.parametrize("permission", [Permission.SEARCH, Permission.READ_OWN])
def test_callers_search_and_read_their_own(permission: Permission) -> None:
    """Callers may search and read their own quota and usage."""
    require(CALLER, permission)


def test_callers_are_no_operators() -> None:
    """What concerns other tenants needs the role."""
    with pytest.raises(OperationNotAllowed):
        require(CALLER, Permission.OPERATOR)


def test_operators_have_every_permission_and_no_face_set_by_it() -> None:
    """The role opens no face set: an operator's tenant has those of its own list, here none."""
    for permission in Permission:
        require(OPERATOR, permission)
    with pytest.raises(FaceSetNotAllowed):
        resolve_face_set(OPERATOR.tenant, "employees")


def test_an_alias_resolves_to_the_upstreams_name() -> None:
    """Callers use the alias; the vendor's name stays inside."""
    assert resolve_face_set(CALLER.tenant, "employees") == "employees-prod"


@pytest.mark.parametrize("alias", ["visitors", "employees-prod", "Employees", "employees ", ""])
def test_every_other_alias_gets_one_and_the_same_answer(alias: str) -> None:
    """Another tenant's face set, an upstream's name and nonsense cannot be told apart."""
    with pytest.raises(FaceSetNotAllowed) as raised:
        resolve_face_set(CALLER.tenant, alias)

    assert str(raised.value) == FaceSetNotAllowed.default_message
