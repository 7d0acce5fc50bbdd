"""Searches a photo: `python search.py PHOTO FACE_SET [HOST:PORT]`. Needs `grpcio` and the stubs of generated/python."""

import sys

import grpc
from facegate.search.v1 import face_search_service_pb2 as pb
from facegate.search.v1.face_search_service_pb2_grpc import FaceSearchServiceStub

photo, face_set, target = (*sys.argv[1:], "127.0.0.1:50051")[:3]
with open(photo, "rb") as file:  # noqa: PTH123  # the shortest form
    image = pb.Image(content=file.read())
with grpc.insecure_channel(target) as channel:
    request = pb.SearchFaceRequest(face_set=face_set, image=image, max_results=3)
    answer = FaceSearchServiceStub(channel).SearchFace(request, timeout=10)
    for match in answer.matches:
        print(match.person_id, match.score)
