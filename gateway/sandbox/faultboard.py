"""The faults in force: taken in as JSON, handed out to the calls that they strike."""

from __future__ import annotations

import asyncio
import difflib
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from gateway.sandbox import faults

_MAX_FAULTS = 1000
_FAULTS: TypeAdapter[list[faults.Fault]] = TypeAdapter(list[faults.Fault])
_KINDS: dict[str, type[BaseModel]] = {
    "status": faults.StatusFault,
    "http": faults.HttpFault,
    "latency": faults.LatencyFault,
    "hang": faults.HangFault,
    "drip": faults.DripFault,
    "reset": faults.ResetFault,
    "garbage": faults.GarbageFault,
    "oversize": faults.OversizeFault,
    "gzip_bomb": faults.GzipBombFault,
    "redirect": faults.RedirectFault,
}


class BadFault(ValueError):
    """A fault that cannot be set; the message names the key, what is wrong and the remedy."""


@dataclass(slots=True)
class Posted:
    """A fault in force: `remaining` calls that it will still strike, or None; `cleared` once it is taken down."""

    id: int
    fault: faults.Fault
    remaining: int | None
    struck: int = 0
    holding: int = 0
    cleared: asyncio.Event = field(default_factory=asyncio.Event)

    def as_json(self) -> dict[str, Any]:
        """The fault with its id and how often it struck and will strike."""
        keys = self.fault.model_dump(mode="json", exclude_none=True)
        return {"id": self.id, **keys, "struck": self.struck, "remaining": self.remaining}


class FaultBoard:
    """Faults in the order in which they were posted."""

    def __init__(self) -> None:
        self._posted: dict[int, Posted] = {}
        self._held: dict[int, Posted] = {}
        self._next_id = 1

    def post(self, fault_or_faults: Any) -> list[Posted]:
        """Posts a fault, or each of a list, given as JSON would give them. Raises `BadFault`, and then posts none."""
        several = fault_or_faults if isinstance(fault_or_faults, list) else [fault_or_faults]
        try:
            parsed = _FAULTS.validate_python(several)
        except ValidationError as error:
            raise BadFault("; ".join(_remedy(dict(one), several) for one in error.errors())) from None
        if len(self._posted) + len(parsed) > _MAX_FAULTS:
            raise BadFault(f"more than {_MAX_FAULTS} faults at once: clear some with DELETE /__sandbox/faults")
        posted = [Posted(self._next_id + index, fault, fault.calls) for index, fault in enumerate(parsed)]
        self._next_id += len(posted)
        self._posted.update({one.id: one for one in posted})
        return posted

    def strike(self, api_id: str, face_set: str) -> Posted | None:
        """The fault that strikes a call, if any; counts it as used."""
        for posted in self._posted.values():
            fault = posted.fault
            if fault.api_id not in (None, api_id) or fault.face_set not in (None, face_set):
                continue
            posted.struck += 1
            if posted.remaining is not None:
                posted.remaining -= 1
                if not posted.remaining:
                    del self._posted[posted.id]
            return posted
        return None

    async def hold(self, posted: Posted) -> None:
        """Waits until `posted` is cleared, also if it is used up by then."""
        self._held[posted.id] = posted
        posted.holding += 1
        try:
            await posted.cleared.wait()
        finally:
            posted.holding -= 1
            if not posted.holding:
                self._held.pop(posted.id, None)

    def listing(self) -> list[dict[str, Any]]:
        """The faults in force."""
        return [posted.as_json() for posted in self._posted.values()]

    def clear(self, fault_id: int | None = None) -> int:
        """Takes down all faults, or one; returns how many there were. Calls that hang on them end."""
        known = self._posted | self._held
        ids = [one for one in known if fault_id in (None, one)]
        for one in ids:
            self._posted.pop(one, None)
            known[one].cleared.set()
        return len(ids)


def _remedy(error: dict[str, Any], given: list[Any]) -> str:
    """One of pydantic's errors in words: which key of which fault, what is wrong, what to give instead."""
    index, *path = error["loc"]
    fault = given[index] if isinstance(index, int) else None
    kind = fault.get("kind") if isinstance(fault, dict) else None
    kinds = ", ".join(_KINDS)
    match error["type"]:
        case "union_tag_not_found":
            return f"`kind` is missing: give one of {kinds}"
        case "union_tag_invalid":
            return f"`kind` is unknown: give one of {kinds}"
        case "model_attributes_type" | "dict_type" | "model_type" if len(path) <= 1:
            return 'a fault is a JSON object: for instance {"kind": "hang", "calls": 1}'
    key = ".".join(str(part) for part in path[1:])
    if error["type"] == "extra_forbidden" and isinstance(kind, str):
        keys = list(_KINDS[kind].model_fields)
        near = difflib.get_close_matches(key, keys, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        return f"`{key[:60]}` is not a key of `{kind}`: {hint}its keys are {', '.join(keys)}"
    if error["type"] == "missing":
        return f"`{key}` is missing: `{kind}` needs it"
    return f"`{key}`: {error['msg'][0].lower()}{error['msg'][1:]}"
