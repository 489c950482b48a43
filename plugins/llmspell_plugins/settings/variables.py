"""The key of ``[security]`` that says which variables of the environment scripts and tools may read."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import Field

from llmspell_hookspecs import Policy
from llmspell_hookspecs.secret import is_secret_name
from llmspell_hookspecs.sections import Names, Section

__all__ = ["VariableSettings"]

_VARIABLES: Names = ("HOME", "USER", "LOGNAME", "LANG", "LC_*", "PATH", "PWD", "SHELL", "TERM", "TZ", "LLMSPELL_*")


class VariableSettings(Section):
    """``[security]``: which variables may be read."""

    environment: Annotated[Names, Policy.VARIABLES_WITHIN] = Field(
        default=_VARIABLES,
        description="Globs of variables that scripts may read; a secret's name must be spelled out.",
    )

    def reads_variable(self, name: str) -> bool:
        """Return whether scripts may read this environment variable."""
        if is_secret_name(name):
            return name in self.environment
        return any(fnmatchcase(name, pattern) for pattern in self.environment)
