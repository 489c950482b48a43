"""The connections of the database-connector as trusted settings name them, and what is asked of a database.

Invariant: a script gives a connection's name, never a file. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import ToolError

__all__ = ["TOOL", "Connection", "Limits", "Task"]

TOOL = "database-connector"


class Connection(BaseModel):
    """``[tools.database-connector.connections.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sqlite"] = Field(description="What it is.")
    path: str = Field(min_length=1, description="The file, relative to the project's folder.")
    allow: Literal["read", "write", "schema"] = Field(
        default="read", description="write lets execute change rows; schema lets it change tables, too."
    )


class Limits(Struct, frozen=True):
    """What one answer may hold and take.

    Attributes:
        rows: How many rows.
        size_bytes: How much they may hold together.
        time_s: How long the statement may take.
    """

    rows: int
    size_bytes: int
    time_s: float


class Task(Struct, frozen=True):
    """What a database is asked.

    Attributes:
        operation: ``query``, ``execute``, ``explain`` or ``schema``.
        query: The statement.
        values: What stands in place of its parameters.
        table: For ``schema``: only this one; empty for all.
        allow: What the connection allows.
        limits: Of the answer.
    """

    operation: str
    query: str
    values: Any
    table: str
    allow: str
    limits: Limits

    def late(self) -> ToolError:
        """Return the error of a statement that took too long."""
        message = (
            f"{TOOL}: query: it took longer than {self.limits.time_s:g} s and was stopped; ask for something simpler"
        )
        return ToolError(message, code="timeout")
