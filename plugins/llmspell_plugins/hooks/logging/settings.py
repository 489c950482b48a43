"""``[plugins.logging]``: what is logged, how, and where. Sizes in bytes."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Policy

__all__ = ["FIELDS", "LEVELS", "FieldName", "Level", "LoggingSettings"]

Level: TypeAlias = Literal["trace", "debug", "info", "warning", "error"]
FieldName: TypeAlias = Literal[
    "time",
    "level",
    "point",
    "component",
    "operation",
    "correlation",
    "parent",
    "session",
    "user",
    "language",
    "attempt",
    "status",
    "elapsed_ms",
    "decision",
    "error",
    "request",
    "result",
    "subject",
]
LEVELS: tuple[Level, ...] = get_args(Level)
FIELDS: tuple[FieldName, ...] = get_args(FieldName)


class LoggingSettings(BaseModel):
    """``[plugins.logging]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level = Field(default="info", description="What is logged: this, and what weighs more.")
    format: Literal["json", "console"] = Field(default="json", description="For programs, or for people.")
    path: Annotated[str, Policy.LOCKED] = Field(
        default="", description="The file; .llmspell/operations.log in the project's folder if empty."
    )
    rotate_bytes: int = Field(
        default=10_485_760, ge=0, description="How large the file may be before the next one is begun; 0 for any size."
    )
    keep: int = Field(default=5, ge=1, le=1000, description="How many full files are kept, as path.1, path.2 ...")
    include: tuple[str, ...] = Field(
        default=(),
        description="Globs for points (after_*) and, with a colon, for what runs (tool:*); of each kind given, one "
        "must fit.",
    )
    exclude: tuple[str, ...] = Field(default=(), description="Globs, as for include; what one fits is left out.")
    fields: tuple[FieldName, ...] = Field(
        default=FIELDS, min_length=1, description="What a line tells, where it is known."
    )
    content: Annotated[Literal["none", "redacted", "full"], Policy.LOCKED] = Field(
        default="redacted",
        description="What of arguments, results and errors is told: nothing, all but secrets, or what hooks see.",
    )
    sample: float = Field(
        default=1.0, ge=0, le=1, description="Which part of all calls, each with all that it set off; warnings always."
    )
    line_bytes: int = Field(
        default=4096,
        ge=512,
        le=1_048_576,
        description="How long a line may be, content is cut to that; up to 4096, not even a kill leaves half a line.",
    )
