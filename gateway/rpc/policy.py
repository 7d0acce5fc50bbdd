"""Every RPC and the permission that it needs. An RPC that is not listed here does not start."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.auth.authorizer import Permission

_SEARCH = "/facegate.search.v1.FaceSearchService/"
_ADMIN = "/facegate.admin.v1.AdminService/"

POLICY: Mapping[str, Permission] = {
    _SEARCH + "SearchFace": Permission.SEARCH,
    _SEARCH + "BulkSearchFaces": Permission.SEARCH,
    _SEARCH + "GetQuota": Permission.READ_OWN,
    _SEARCH + "GetUsage": Permission.READ_OWN,
    _ADMIN + "PurgeCache": Permission.OPERATOR,
    _ADMIN + "ListTenantUsage": Permission.OPERATOR,
    _ADMIN + "GetStatus": Permission.OPERATOR,
}
