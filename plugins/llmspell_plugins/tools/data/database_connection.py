"""The connections of the database-connector as trusted settings name them, and what is asked of a database.

Invariant: a script gives a connection's name, never a file, a host or a password. Sizes in bytes, durations in seconds.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from llmspell_hookspecs import ToolError

__all__ = ["TOOL", "Connection", "Limits", "Task"]

TOOL = "database-connector"


class Connection(BaseModel):
    """``[tools.database-connector.connections.NAME]``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sqlite", "postgres", "mysql"] = Field(description="What it is; mysql is MariaDB, too.")
    path: str = Field(default="", description="For sqlite: the file, relative to the project's folder.")
    host: str = Field(default="localhost", description="The server.")
    port: int = Field(default=0, ge=0, le=65535, description="Its port; 0 for the usual one.")
    database: str = Field(default="", description="The database on the server.")
    user: str = Field(default="", description="Who asks; one that may do little.")
    password: SecretStr | None = Field(default=None, description="The password; better kept in the environment.")
    password_env: str = Field(default="", description="The environment variable that has the password.")
    tls: bool = Field(default=True, description="Whether TLS with a trusted certificate is needed.")
    ca_file: str = Field(default="", description="Certificates that are trusted; the system's if left out.")
    allow: Literal["read", "write", "schema"] = Field(
        default="read", description="write lets execute change rows; schema lets it change tables, too."
    )

    @model_validator(mode="after")
    def _complete(self) -> Connection:
        if self.kind == "sqlite" and not self.path:
            raise ValueError("sqlite needs path, the file")
        if self.kind != "sqlite" and not (self.database and self.user):
            raise ValueError(f"{self.kind} needs database and user")
        return self

    @property
    def usual_port(self) -> int:
        """The port that is set, or that which servers of the kind use."""
        return self.port or {"postgres": 5432, "mysql": 3306}.get(self.kind, 0)


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
