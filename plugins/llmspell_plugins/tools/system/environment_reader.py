"""The environment_reader tool: variables of the environment that the settings open to scripts.

Invariant: one rule for all, ``security.environment``; what it does not open is as if it were not set. What is set here
is kept by this host alone and never reaches the process's own environment.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Services, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.services import SettingsAccess

__all__ = ["EnvironmentReader", "EnvironmentReaderParameters", "EnvironmentReaderSettings"]

_MOST = 1000


class EnvironmentReaderParameters(BaseModel):
    """What the environment_reader takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["get", "list", "pattern", "set"] = Field(
        description="One variable, all that may be read, those of a pattern, or set one for this host."
    )
    variable_name: str | None = Field(
        default=None,
        max_length=1000,
        validation_alias=AliasChoices("variable_name", "name", "variable"),
        description="get and set: which; also called name.",
    )
    value: str | None = Field(default=None, max_length=100_000, description="set: to what.")
    pattern: str | None = Field(default=None, max_length=1000, description="pattern: a glob such as LC_*.")

    @model_validator(mode="after")
    def _complete(self) -> EnvironmentReaderParameters:
        needs = {"get": ("variable_name",), "pattern": ("pattern",), "set": ("variable_name", "value")}
        missing = [name for name in needs.get(self.operation, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{self.operation} needs {' and '.join(missing)}")
        return self


class EnvironmentReaderSettings(BaseModel):
    """``[tools.environment_reader]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_set: bool = Field(default=False, description="Whether variables may be set, for this host alone.")


class EnvironmentReader(Tool[EnvironmentReaderParameters]):
    """Read the variables of the environment that the settings open, and set some for this host."""

    name = "environment_reader"
    aliases = ("environment-reader", "environment-manager", "environment_manager")
    category = "system"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample("one", {"operation": "get", "variable_name": "PATH"}, {"variable_name": "PATH"}),
        ToolExample("some", {"operation": "pattern", "pattern": "LC_*"}),
    )
    Settings: ClassVar[type[BaseModel] | None] = EnvironmentReaderSettings
    settings: EnvironmentReaderSettings

    def __init__(self, settings: Any = None, services: Services | None = None) -> None:
        super().__init__(settings, services)
        self._own: dict[str, str] = {}

    async def run(self, parameters: EnvironmentReaderParameters, context: ToolContext) -> ToolResult:
        """Return ``{variable_name, value, found}`` or ``{variables, count}``.

        Raises:
            SecurityError: The variable may not be read, or none may be set.
            ToolError: Too many are set.
        """
        security = context.services.get(SettingsAccess).section("security")
        name, operation = parameters.variable_name or "", parameters.operation
        if operation in ("get", "set") and not security.reads_variable(name):
            message = (
                f"environment_reader: {name!r:.100} is not open to scripts; "
                "name it in the setting security.environment, a secret's name spelled out"
            )
            raise SecurityError(message, rule="environment")
        if operation == "set":
            return self._set(name, parameters.value or "")
        known = {**os.environ, **self._own}
        if operation == "get":
            found = name in known
            result: dict[str, Any] = {"variable_name": name, "value": known.get(name), "found": found}
            message = f"{name} is set" if found else f"{name} is not set"
            return ToolResult(operation="get", result=result, message=message)
        pattern = "*" if operation == "list" else parameters.pattern or ""
        names = sorted(each for each in known if security.reads_variable(each) and fnmatchcase(each, pattern))
        result = {"variables": {each: known[each] for each in names}, "count": len(names)}
        if operation == "pattern":
            result["pattern"] = pattern
        return ToolResult(operation=operation, result=result)

    def _set(self, name: str, value: str) -> ToolResult:
        if not self.settings.allow_set:
            message = "environment_reader: set is off; set tools.environment_reader.allow_set to true"
            raise SecurityError(message, rule="environment")
        if not name or "=" in name or "\0" in name + value:
            message = f"environment_reader: {name!r:.100} cannot be a variable; leave out = and NUL"
            raise ToolError(message, code="invalid_input")
        if len(self._own) >= _MOST and name not in self._own:
            raise ToolError(f"environment_reader: {_MOST} variables are set; set no more", code="limit_exceeded")
        self._own[name] = value
        result = {"variable_name": name, "value": value, "set": True}
        return ToolResult(operation="set", result=result, message=f"{name} is set for this host")
