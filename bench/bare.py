"""A gRPC server that does nothing but answer: what everything else is measured against.

The same protobuf, the same event loop, one constant answer. `python -m bench.bare PORT`.
"""

from __future__ import annotations

import asyncio
import sys

import grpc
import uvloop
from facegate.search.v1 import face_search_service_pb2 as pb

ANSWER = pb.SearchFaceResponse(
    matches=[pb.FaceMatch(person_id=1, face_id=435449455488008194, score=0.985)],
    outcome=pb.SEARCH_OUTCOME_MATCHED,
    request_id="0123456789abcdef0123456789abcdef",
)
OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 7 * 1024 * 1024))


async def search_face(request: pb.SearchFaceRequest, context: object) -> pb.SearchFaceResponse:
    return ANSWER


HANDLERS = grpc.method_handlers_generic_handler(
    "facegate.search.v1.FaceSearchService",
    {
        "SearchFace": grpc.unary_unary_rpc_method_handler(
            search_face,
            request_deserializer=pb.SearchFaceRequest.FromString,
            response_serializer=pb.SearchFaceResponse.SerializeToString,
        )
    },
)


async def serve(port: int) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((HANDLERS,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
