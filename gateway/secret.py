"""A secret value that has to be asked for by name, so that no accident of printing, copying or logging gives it away."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

REDACTED = "<secret>"


class Secret:
    """Holds a value that only `reveal()` gives out.

    Printed in any way it reads `<secret>`; a copy is the same object; it cannot be pickled, and no JSON writer knows it.
    Two secrets are compared in constant time.
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The value. Call it where the value is sent, and keep no reference to it."""
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret cannot be changed")

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    # A hash would be an oracle of the value for whoever can read it.
    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    # What pickle asks for; without it `object.__getstate__` returns the slots with their values.
    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialized")
