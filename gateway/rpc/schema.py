"""Answers reflection's questions from the descriptors that this process has loaded. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2 import (
    ErrorResponse,
    ExtensionNumberResponse,
    FileDescriptorResponse,
    ListServiceResponse,
    ServerReflectionRequest,
    ServerReflectionResponse,
    ServiceResponse,
)


def add_reflection_v1() -> str:
    """Makes the service `grpc.reflection.v1.ServerReflection` known to this process; its full name.

    Python ships the older `v1alpha` alone. The two differ in nothing but the name.
    """
    older, newer = "grpc.reflection.v1alpha", "grpc.reflection.v1"
    proto = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    text = text_format.MessageToString(proto).replace(older, newer)
    text = text.replace("grpc_reflection/v1alpha", "grpc/reflection/v1")
    descriptor_pool.Default().AddSerializedFile(text_format.Parse(text, FileDescriptorProto()).SerializeToString())
    return f"{newer}.ServerReflection"


class Schema:
    """The schema of `services`, by their full names, and of every type that they need."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ListServiceResponse(service=[ServiceResponse(name=name) for name in sorted(services)])
        self._pool = descriptor_pool.Default()
        # A file with all that it imports, serialized: the process has a few dozen files.
        self._files: dict[str, FileDescriptorResponse] = {}

    def answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        """The answer to one request. A name that is not known is an answer as well."""
        response = ServerReflectionResponse(original_request=request)
        try:
            match request.WhichOneof("message_request"):
                case "list_services":
                    response.list_services_response.CopyFrom(self._services)
                case "file_by_filename":
                    file = self._pool.FindFileByName(request.file_by_filename)
                    response.file_descriptor_response.CopyFrom(self._file(file))
                case "file_containing_symbol":
                    file = self._file_of(request.file_containing_symbol)
                    response.file_descriptor_response.CopyFrom(self._file(file))
                case "file_containing_extension":
                    asked = request.file_containing_extension
                    message = self._pool.FindMessageTypeByName(asked.containing_type)
                    extension = self._pool.FindExtensionByNumber(message, asked.extension_number)
                    response.file_descriptor_response.CopyFrom(
                        self._file(self._pool.FindFileContainingSymbol(extension.full_name))
                    )
                case "all_extension_numbers_of_type":
                    message = self._pool.FindMessageTypeByName(request.all_extension_numbers_of_type)
                    numbers = sorted(extension.number for extension in self._pool.FindAllExtensions(message))
                    response.all_extension_numbers_response.CopyFrom(
                        ExtensionNumberResponse(base_type_name=message.full_name, extension_number=numbers)
                    )
                case _:
                    response.error_response.CopyFrom(
                        _error(StatusCode.INVALID_ARGUMENT, "the request asks for nothing")
                    )
        except KeyError:
            response.error_response.CopyFrom(_error(StatusCode.NOT_FOUND, "unknown name"))
        return response

    def _file_of(self, symbol: str) -> FileDescriptor:
        """The file that declares `symbol`. The pool does not find methods and fields by name: their parent's file is theirs."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            parent, _, name = symbol.rpartition(".")
            service = self._pool.FindServiceByName(parent)
            if name not in service.methods_by_name:
                raise
            return service.file

    def _file(self, file: FileDescriptor) -> FileDescriptorResponse:
        known = self._files.get(file.name)
        if known is None:
            files: dict[str, FileDescriptor] = {}
            _collect(file, files)
            serialized = [one.serialized_pb for one in files.values()]
            known = self._files[file.name] = FileDescriptorResponse(file_descriptor_proto=serialized)
        return known


def _collect(file: FileDescriptor, into: dict[str, FileDescriptor]) -> None:
    """The file and all that it imports."""
    if file.name not in into:
        into[file.name] = file
        for dependency in file.dependencies:
            _collect(dependency, into)


def _error(code: StatusCode, message: str) -> ErrorResponse:
    return ErrorResponse(error_code=code.value[0], error_message=message)
