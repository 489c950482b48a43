"""The script-runner tool: runs a script that is handed over as text, and returns its value and what it printed.

It runs as every script does, in the sandbox of its language, between the same hooks and by the same rules. Of the
globals it sees its arguments, its output and what it is given; by default that is nothing that acts on the world.

Invariant: a run is given no global that the script around it lacks; and what settings do not name is given only by a
script that asks by itself, never by an agent or a person. Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

import io
from typing import Any, ClassVar, Final

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.errors import ResourceLimitError, ScriptError, SecurityError
from llmspell_hookspecs.kind import Registries
from llmspell_hookspecs.script import ScriptRun, Scripts
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.spelling import told

__all__ = ["ScriptRunner", "ScriptRunnerParameters", "ScriptRunnerSettings"]

_OWN: Final = ("ARGS", "arg", "print")
"""The globals that are a run's own: its arguments and its output."""
_PURE: Final = ("JSON",)
"""Those that it has beside them if nobody says which: what acts on nothing, and waits for nobody."""
_RESOURCES: Final = {"instruction_limit": "instructions", "memory_limit": "memory_bytes", "time_limit": "time_s"}
_TAIL: Final = 2000
_MOST_ARGUMENTS: Final = 100_000


class ScriptRunnerParameters(BaseModel):
    """What the script-runner takes."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(
        min_length=1,
        max_length=1_000_000,
        validation_alias=AliasChoices("source", "input", "code"),
        description="The script; what it returns is the value. Also called input, and code.",
    )
    language: str | None = Field(
        default=None, max_length=100, description="Its language, such as lua; the host's usual one."
    )
    arguments: list[str] = Field(
        default=[],
        max_length=1000,
        validation_alias=AliasChoices("arguments", "args"),
        description="What it finds in ARGS, from 1; also called args.",
    )
    globals: list[str] | None = Field(
        default=None,
        max_length=100,
        description="The globals that it sees beside ARGS, arg and print; JSON if left out. Others, such as Tool, only "
        "from a script that has them, or as settings allow.",
    )
    name: str = Field(default="script", min_length=1, max_length=100, description="What errors call it.")
    time_s: float = Field(default=10.0, gt=0, le=3600, description="How much processor time it may use.")
    memory_bytes: int | None = Field(default=None, ge=1_000_000, description="How much it may hold.")
    instructions: int | None = Field(default=None, ge=1, description="How many instructions it may run.")
    output_bytes: int = Field(
        default=1024 * 1024, ge=0, le=64 * 1024 * 1024, description="How much it may print, in UTF-8."
    )

    @field_validator("arguments", mode="after")
    @classmethod
    def _can_be_given(cls, given: list[str]) -> list[str]:
        if sum(map(len, given)) > _MOST_ARGUMENTS:
            raise ValueError(f"they hold more than {_MOST_ARGUMENTS} characters")
        return given


class ScriptRunnerSettings(BaseModel):
    """``[tools.script-runner]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    globals: tuple[str, ...] = Field(
        default=_PURE,
        description="The globals that whoever calls the tool may give a script, agents among them. With Tool it calls "
        "every tool, whatever an agent's own list of tools says; levels, rules and hooks still hold.",
    )


class ScriptRunner(Tool[ScriptRunnerParameters]):
    """Run a script that is handed over as text, in its language's sandbox, and return its value and what it printed."""

    name = "script-runner"
    aliases = ("script_runner",)
    category = "utility"
    level = SecurityLevel.RESTRICTED
    examples = (
        ToolExample(
            "a value and what was printed",
            {
                "source": "print('adding')\nlocal sum = 0\nfor i = 1, 10 do sum = sum + i end\nreturn sum",
                "language": "lua",
            },
            {"value": 55, "output": "adding\n"},
        ),
        ToolExample(
            "arguments and JSON",
            {
                "source": "local order = JSON.parse(ARGS[1])\nreturn order.price * order.pieces",
                "language": "lua",
                "arguments": ['{"price": 3, "pieces": 4}'],
                "globals": ["JSON"],
                "time_s": 2,
                "output_bytes": 1000,
            },
            {"value": 12, "output": ""},
        ),
    )
    Settings: ClassVar[type[BaseModel] | None] = ScriptRunnerSettings
    settings: ScriptRunnerSettings

    async def run(self, parameters: ScriptRunnerParameters, context: ToolContext) -> ToolResult:
        """Return ``{value, output}``.

        Raises:
            ComponentNotFoundError: There is no such language.
            InvalidInputError: There is no such global, or the language can withhold none.
            SecurityError: A global may not be given here.
            ResourceLimitError: The script went beyond a limit.
            ToolError: It failed.
        """
        language = parameters.language or context.services.get(SettingsAccess).plain("default_language")
        scripts = context.services.get(Scripts)
        given = self._given(parameters.globals, scripts, context)
        limits = {"time_s": parameters.time_s, "memory_bytes": context.limits.memory_bytes}
        if parameters.memory_bytes is not None:
            limits["memory_bytes"] = min(parameters.memory_bytes, context.limits.memory_bytes)
        if parameters.instructions is not None:
            limits["instructions"] = parameters.instructions
        script = ScriptRun(
            parameters.source,
            language,
            parameters.name,
            arguments=tuple(parameters.arguments),
            globals=given,
            limits=limits,
        )
        context.charge(parameters.output_bytes)
        printed = _Printed(parameters.name, parameters.output_bytes)
        try:
            value = await scripts.run_script(script, write=printed.write)
        except ScriptError as error:
            raise printed.overflow or _told(error, printed.text) from error
        if printed.overflow is not None:
            raise printed.overflow
        result = {"value": value, "output": printed.text}
        return ToolResult(operation="run", result=result, metadata={"language": language, "globals": given})

    def _given(self, asked: list[str] | None, scripts: Scripts, context: ToolContext) -> tuple[str, ...]:
        """Return the names of the globals that a run is given.

        Raises:
            SecurityError: One of them may not be given here.
        """
        around = scripts.around()
        there = set(context.services.get(Registries).of("llmspell.globals").names())
        if around.globals is not None:
            there &= around.globals

        def may_be_given(name: str) -> bool:
            return name in self.settings.globals or (around.asks and (around.globals is None or name in around.globals))

        own = there.intersection(_OWN)
        if asked is None:
            return tuple(sorted(own.union(name for name in _PURE if name in there and may_be_given(name))))
        for name in asked:
            if name not in _OWN and not may_be_given(name):
                message = (
                    f"script-runner: globals: {told(name)} may not be given here; leave it out, or allow it in the "
                    "setting tools.script-runner.globals"
                )
                raise SecurityError(message, rule="global")
        return tuple(sorted(own.union(asked)))


class _Printed:
    """What a script has printed so far; callable on any thread, one text at a time.

    Attributes:
        overflow: The error of a script that printed too much, also if it went on after that; None if it did not.
    """

    def __init__(self, name: str, most_bytes: int) -> None:
        self.overflow: ResourceLimitError | None = None
        self._name = name
        self._most_bytes = self._left_bytes = most_bytes
        self._texts = io.StringIO()

    def write(self, text: str) -> None:
        """Keep a text.

        Raises:
            ResourceLimitError: It is more than there is room for.
        """
        if self.overflow is None and len(text) <= self._left_bytes:
            size = len(text.encode("utf-8", "surrogatepass"))
            if size <= self._left_bytes:
                self._left_bytes -= size
                self._texts.write(text)
                return
        message = (
            f"script-runner: {self._name}: it prints more than its {self._most_bytes} bytes; print less, or raise "
            "output_bytes"
        )
        self.overflow = ResourceLimitError(message, resource="output_bytes", limit=self._most_bytes)
        raise self.overflow

    @property
    def text(self) -> str:
        """All of it."""
        return self._texts.getvalue()


def _told(error: ScriptError, printed: str) -> Exception:
    """Return the tool's error for a script's."""
    if error.code in _RESOURCES:
        resource = _RESOURCES[error.code]
        what = str(error).rpartition("; ")[0] or str(error)
        message = f"script-runner: {what}; do less, or raise {resource}, which the setting scripts.{resource} bounds"
        return ResourceLimitError(message, resource=resource)
    details: dict[str, Any] = {"file": error.file, "line": error.line, "output": printed[-_TAIL:]}
    return ToolError(f"script-runner: {error}; correct the script", code=error.code, details=details)
