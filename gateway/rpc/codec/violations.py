"""Collects the broken rules of one request, so that its caller learns all of them at once."""

from __future__ import annotations

from gateway.errors import FieldViolation, ImageRejected, InvalidRequest


class Violations:
    """The broken rules of one request so far.

    Descriptions name the rule and the remedy. They may show a number, never an image's bytes and never a string of the
    caller's, which has no bound.
    """

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []
        self._only_image = True

    def add(self, field: str, description: str) -> None:
        """A rule of the request; `field` is the path in the request."""
        self._found.append(FieldViolation(field, description))
        self._only_image = False

    def add_image_fault(self, field: str, description: str) -> None:
        """A rule of the photo itself: another photo would make the request good."""
        self._found.append(FieldViolation(field, description))

    @property
    def any(self) -> bool:
        """Whether any rule is broken so far."""
        return bool(self._found)

    def raise_any(self) -> None:
        """Raises `ImageRejected` if the photo alone is at fault, `InvalidRequest` for any other violation."""
        if self._found:
            raise (ImageRejected if self._only_image else InvalidRequest)(tuple(self._found))
