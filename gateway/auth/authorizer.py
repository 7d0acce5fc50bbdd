"""What an authenticated caller may do: methods by its role, face sets by its tenant's list.

The only place that resolves a face set's alias. Which method needs which permission stands in `rpc/policy.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.errors import FaceSetNotAllowed, OperationNotAllowed
from gateway.model import Principal, Role, Tenant, Word


class Permission(Word):
    """What a method can ask of a caller."""

    SEARCH = "search"
    READ_OWN = "read_own"
    OPERATOR = "operator"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.CALLER: frozenset({Permission.SEARCH, Permission.READ_OWN}),
    # SEARCH opens nothing by itself: an operator's tenant without face sets can search none.
    Role.OPERATOR: frozenset({Permission.SEARCH, Permission.READ_OWN, Permission.OPERATOR}),
}


def require(principal: Principal, permission: Permission) -> None:
    """Raises `OperationNotAllowed` unless the principal's role has the permission."""
    if permission not in PERMISSIONS[principal.tenant.role]:
        raise OperationNotAllowed


def resolve_face_set(tenant: Tenant, alias: str) -> str:
    """The upstream's name of a face set of the tenant.

    Raises `FaceSetNotAllowed` for any other alias. It looks into this tenant's list alone, so neither the answer nor
    its time can tell a face set of another tenant from one that does not exist.
    """
    name = tenant.face_sets.get(alias)
    if name is None:
        raise FaceSetNotAllowed
    return name
