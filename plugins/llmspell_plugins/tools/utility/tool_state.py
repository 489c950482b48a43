"""The tool-state tool: what tools and scripts keep between calls, in the scope of a tool, and a cache that expires.

Invariant: it touches the scopes of tools only, by way of the state's own operations, so every hook on state sees it.
Durations in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolExample, ToolResult
from llmspell_hookspecs.services import Clock
from llmspell_hookspecs.state import State
from llmspell_hookspecs.values import thaw

__all__ = ["ToolState", "ToolStateParameters"]

_CACHED = "cache/"
_MOST = 10_000


class ToolStateParameters(BaseModel):
    """What tool-state takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["get", "set", "delete", "list", "stats", "cache"] = Field(
        description="One value; which keys there are; how much is kept; or a value that expires: kept if given."
    )
    tool: str = Field(default="shared", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="In whose scope it is kept.")
    key: str = Field(default="", max_length=200, description="Under which key.")
    value: Any = Field(default=None, description="What is kept, for set and cache.")
    ttl_s: float = Field(default=3600, gt=0, le=31_536_000, description="How long the cache keeps it.")

    @model_validator(mode="after")
    def _complete(self) -> ToolStateParameters:
        if self.operation not in ("list", "stats") and not self.key:
            raise ValueError(f"{self.operation} needs a key")
        return self


class ToolState(Tool[ToolStateParameters]):
    """Keep values between calls in the scope of a tool, read and delete them, or cache them for a time."""

    name = "tool-state"
    aliases = ("tool_state",)
    category = "utility"
    level = SecurityLevel.SAFE
    repeatable = True
    effects = "transactional"
    examples = (
        ToolExample("keep a value", {"operation": "set", "key": "seen", "value": [1, 2]}, {"key": "seen"}),
        ToolExample("what is not there", {"operation": "get", "key": "missing"}, {"value": None, "found": False}),
    )

    async def run(self, parameters: ToolStateParameters, context: ToolContext) -> ToolResult:
        """Return ``{tool_id, ...}``: the value and whether it was found, its version, the keys, or the sizes.

        Raises:
            InvalidInputError: The key or the value cannot be kept.
            ResourceLimitError: The value is too large.
            StorageError: The storage cannot be read or written.
        """
        state, scope, key = context.services.get(State), f"tool:{parameters.tool}", parameters.key
        match parameters.operation:
            case "get":
                value, version = await state.entry(key, scope=scope)
                found = {"key": key, "value": value, "found": version > 0, "version": version}
            case "set":
                found = {"key": key, "version": await state.set(key, parameters.value, scope=scope)}
            case "delete":
                found = {"key": key, "deleted": await state.delete(key, scope=scope)}
            case "cache":
                found = await _cached(parameters, state, scope, context.services.get(Clock).now_s())
            case "list":
                keys = await state.keys(scope, prefix=key, limit=_MOST)
                found = {"keys": [each for each in keys if not each.startswith(_CACHED)]}
            case _:
                found = await _stats(state, scope)
        return ToolResult(operation=parameters.operation, result={"tool_id": parameters.tool, **found})


async def _cached(parameters: ToolStateParameters, state: State, scope: str, now_s: float) -> dict[str, Any]:
    """Keep a value that was given, or return the one that was kept, if its time is not over."""
    key = _CACHED + parameters.key
    if "value" in parameters.model_fields_set:
        expires_s = now_s + parameters.ttl_s
        await state.set(key, {"value": parameters.value, "expires_s": expires_s}, scope=scope)
        return {"key": parameters.key, "stored": True, "expires_s": expires_s}
    kept, version = await state.entry(key, scope=scope)
    if version and isinstance(kept, Mapping) and kept.get("expires_s", 0) > now_s:
        return {"key": parameters.key, "hit": True, "value": kept["value"], "expires_s": kept["expires_s"]}
    if version:
        await state.delete(key, scope=scope)
    return {"key": parameters.key, "hit": False, "value": None}


async def _stats(state: State, scope: str) -> dict[str, Any]:
    keys = await state.keys(scope, limit=_MOST)
    size_bytes = 0
    for key in keys:
        size_bytes += len(msgspec.json.encode(thaw(await state.get(key, scope=scope))))
    cached = sum(key.startswith(_CACHED) for key in keys)
    return {"keys": len(keys) - cached, "cached": cached, "size_bytes": size_bytes}
