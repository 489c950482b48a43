"""``[plugins.security]``: the rules and what else is looked for.

A project's file may make everything stricter and nothing more lenient: switches only go up in the order of their words.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import Policy

__all__ = ["Condition", "Rule", "SecurityPluginSettings", "When"]

Plain: TypeAlias = str | int | float | bool
Where: TypeAlias = Literal["arguments", "results", "requests", "answers"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Frozen):
    """What one argument must be; all that is said must hold."""

    matches: str | None = Field(default=None, description="A glob for its text.")
    equals: Plain | None = Field(default=None, description="Its value.")
    above: float | None = Field(default=None, description="A number that it is larger than.")
    below: float | None = Field(default=None, description="A number that it is smaller than.")

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        if self.matches is None and self.equals is None and self.above is None and self.below is None:
            raise ValueError("a condition says nothing; give matches, equals, above or below")
        return self


class When(_Frozen):
    """In which situations a rule holds."""

    level: tuple[str, ...] = Field(default=(), description="Levels of tools: safe, restricted, privileged.")
    session: tuple[str, ...] = Field(default=(), description="Globs for the session's id.")
    language: tuple[str, ...] = Field(default=(), description="Where the call was asked for: lua, python, cli ...")


class Rule(_Frozen):
    """One rule; what it leaves out it does not look at, what it names must all hold."""

    name: str = Field(min_length=1, description="Told to whoever is refused, and in the audit log.")
    action: Literal["allow", "deny", "ask"] = Field(description="A deny wins over all; else the first rule counts.")
    tools: tuple[str, ...] = Field(default=(), description="Globs for tools; with none of these three, every call.")
    models: tuple[str, ...] = Field(default=(), description="Globs for models, as provider/model.")
    agents: tuple[str, ...] = Field(default=(), description="Globs for agents.")
    paths: tuple[str, ...] = Field(default=(), description="Globs for paths in the call; to allow, all must match.")
    hosts: tuple[str, ...] = Field(default=(), description="Globs for hosts in the call; to allow, all must match.")
    arguments: dict[str, str | Condition] = Field(
        default={}, description="JSON pointers into the arguments, each with a glob or a condition."
    )
    when: When = Field(default=When(), description="In which situations it holds.")

    @model_validator(mode="after")
    def _has_pointers(self) -> Rule:
        for pointer in self.arguments:
            if not pointer.startswith("/"):
                raise ValueError(f"rule {self.name}: {pointer!r} is no JSON pointer; begin it with a slash")
        return self


class SecurityPluginSettings(_Frozen):
    """What the plugin takes."""

    rules: Annotated[tuple[Rule, ...], Policy.LOCKED] = Field(default=(), description="What is allowed and denied.")
    default: Annotated[Literal["allow", "ask", "deny"], Policy.LOCKED] = Field(
        default="allow", description="What becomes of a tool's call that no rule matches."
    )
    secrets: Annotated[Literal["off", "redact", "deny"], Policy.LOCKED] = Field(
        default="redact", description="What becomes of secrets that are found."
    )
    secrets_in: Annotated[tuple[Where, ...], Policy.SUPERSET_ONLY] = Field(
        default=("arguments", "results", "requests", "answers"), description="Where secrets are looked for."
    )
    injection: Annotated[Literal["off", "report", "deny"], Policy.LOCKED] = Field(
        default="report", description="What becomes of texts that look like instructions to the model, or of shells."
    )
    audit: Annotated[Literal["off", "refusals", "all", "strict"], Policy.LOCKED] = Field(
        default="refusals", description="What is recorded; strict: all, and nothing goes on before it is kept."
    )
    audit_head: Annotated[str, Policy.LOCKED] = Field(
        default="", description="The file that keeps the log's head; apart from the storage: another disk is best."
    )
