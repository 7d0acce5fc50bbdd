"""Reflection finds what clients ask for: services, methods by name, the published reasons, and its own newer version."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as V1ALPHA
from grpc_reflection.v1alpha.reflection_pb2 import ExtensionRequest, ServerReflectionRequest

from gateway.rpc import services
from gateway.rpc.reflection import V1
from gateway.rpc.schema import Schema

SCHEMA = Schema((*services.SERVICE_NAMES, V1, V1ALPHA))


def files_of(request: ServerReflectionRequest) -> list[str]:
    answer = SCHEMA.answer(request)
    assert answer.original_request == request
    return [FileDescriptorProto.FromString(file).name for file in answer.file_descriptor_response.file_descriptor_proto]


def test_every_service_is_listed() -> None:
    answer = SCHEMA.answer(ServerReflectionRequest(list_services="*"))
    assert [service.name for service in answer.list_services_response.service] == [
        "facegate.admin.v1.AdminService",
        "facegate.search.v1.FaceSearchService",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("facegate.search.v1.FaceSearchService", "facegate/search/v1/face_search_service.proto"),
        ("facegate.search.v1.FaceSearchService.SearchFace", "facegate/search/v1/face_search_service.proto"),
        ("facegate.search.v1.SearchFaceRequest", "facegate/search/v1/face_search_service.proto"),
        ("facegate.search.v1.ErrorReason", "facegate/search/v1/error_reason.proto"),
        ("google.rpc.QuotaFailure", "google/rpc/error_details.proto"),
        ("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto"),
    ],
)
def test_a_symbol_is_found_with_all_that_its_file_imports(symbol: str, file: str) -> None:
    files = files_of(ServerReflectionRequest(file_containing_symbol=symbol))
    assert files[0] == file
    assert len(files) == len(set(files))


@pytest.mark.parametrize(
    "request_",
    [
        ServerReflectionRequest(file_containing_symbol="facegate.search.v1.Nothing"),
        ServerReflectionRequest(file_containing_symbol="facegate.search.v1.FaceSearchService.Nothing"),
        ServerReflectionRequest(file_containing_symbol=""),
        ServerReflectionRequest(file_by_filename="nowhere.proto"),
        ServerReflectionRequest(all_extension_numbers_of_type="facegate.Nothing"),
        ServerReflectionRequest(
            file_containing_extension=ExtensionRequest(containing_type="facegate.search.v1.Image", extension_number=1)
        ),
    ],
)
def test_an_unknown_name_is_an_answer(request_: ServerReflectionRequest) -> None:
    assert SCHEMA.answer(request_).error_response.error_code == 5


def test_a_request_that_asks_for_nothing_is_invalid() -> None:
    assert SCHEMA.answer(ServerReflectionRequest()).error_response.error_code == 3
