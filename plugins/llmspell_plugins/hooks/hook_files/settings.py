"""``[plugins.hook_files]``: which files are read, and what their commands may use. A project's file names none.

Durations in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import Policy

__all__ = ["HookFilesSettings", "Pinned"]


class Pinned(BaseModel):
    """A file with what it must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, description="The file.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="The hash of what it holds; anything else is refused.")


class HookFilesSettings(BaseModel):
    """What the plugin takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: Annotated[tuple[str | Pinned, ...], Policy.LOCKED] = Field(
        default=(),
        max_length=50,
        description="The files, in order; one where tools may write is named with its sha256, "
        "as {path = ..., sha256 = ...}.",
    )
    timeout_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=60.0, gt=0, le=600, description="How long a command may run whose file does not say."
    )
    max_timeout_s: Annotated[float, Policy.LOWER_ONLY] = Field(
        default=600.0, gt=0, le=3600, description="How long it may run whatever its file says."
    )
    max_input_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="How much a command is sent; more is denied."
    )
    max_output_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=1024 * 1024, ge=256, le=64 * 1024 * 1024, description="How much each output may hold; then it is ended."
    )
    max_memory_bytes: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=64 * 1024**3, ge=1024 * 1024, description="The address space of each process; some reserve a lot."
    )
    max_parallel: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=8, ge=1, le=256, description="How many commands run at once; the others wait."
    )
    stop_continuations: Annotated[int, Policy.LOWER_ONLY] = Field(
        default=3,
        ge=0,
        le=100,
        description="How often a Stop hook may send an agent back to work; then its answer is withheld.",
    )
    unsupported: Annotated[Literal["tell", "refuse"], Policy.LOCKED] = Field(
        default="tell", description="What becomes of a file with events that this host has not."
    )
    environment: Annotated[tuple[str, ...], Policy.LOCKED] = Field(
        default=("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TERM", "TMPDIR"),
        description="Globs of the variables that commands have of the host's; never one with a secret's name.",
    )
