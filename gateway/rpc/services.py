"""The services of the contract, as reflection and the dispatcher know them."""

from __future__ import annotations

import facegate.search.v1.error_reason_pb2  # noqa: F401 - so that reflection knows the reasons
import google.rpc.error_details_pb2  # noqa: F401 - registers the details' types, so that clients can decode them
from facegate.admin.v1.admin_service_pb2 import DESCRIPTOR as ADMIN
from facegate.search.v1.face_search_service_pb2 import DESCRIPTOR as SEARCH

SERVICES = (SEARCH.services_by_name["FaceSearchService"], ADMIN.services_by_name["AdminService"])
SERVICE_NAMES = tuple(service.full_name for service in SERVICES)
