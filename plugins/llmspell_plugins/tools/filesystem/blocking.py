"""Which files no tool writes, by the end of their names: the setting ``tools.file_operations.blocked_extensions``.

Invariant: every tool that writes files of a name that it is given asks here, so that none does what another refuses.
"""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llmspell_hookspecs import Services
from llmspell_hookspecs.errors import SecurityError
from llmspell_hookspecs.parameters import first_problem
from llmspell_hookspecs.services import SettingsAccess
from llmspell_hookspecs.spelling import spelled_path

__all__ = ["Blocking"]

_KEY = "tools.file_operations.blocked_extensions"


class Blocking(BaseModel):
    """Which files are never written; a part of ``[tools.file_operations]`` that counts for all tools."""

    model_config = ConfigDict(frozen=True)

    blocked_extensions: tuple[str, ...] = Field(
        default=("exe", "dll", "so", "dylib"),
        description="Files that no tool writes, and that are not unpacked; case does not matter.",
    )

    @classmethod
    def of(cls, services: Services) -> Blocking:
        """Return what settings say now.

        Raises:
            SecurityError: They are wrong.
        """
        given = services.get(SettingsAccess).plain(_KEY)
        try:
            return cls() if given is None else cls(blocked_extensions=given)
        except ValidationError as error:
            words = first_problem(cls, error).words
            raise SecurityError(f"{_KEY}: {words}; until it is corrected no file is written", rule="path") from error

    def extension(self, path: str) -> str:
        """Return the blocked extension of a name, empty if it has none; a library's version does not hide it.

        So ``.so.1.2`` is ``so``, and ``.exe.`` is ``exe``.
        """
        parts = os.path.basename(path).lower().rstrip(". ").split(".")[1:]
        while parts and parts[-1].isdecimal():
            parts.pop()
        blocked = {extension.lower().lstrip(".") for extension in self.blocked_extensions}
        return parts[-1].strip() if parts and parts[-1].strip() in blocked else ""

    def check(self, path: str) -> None:
        """Refuse a file that is never written.

        Raises:
            SecurityError: It is one.
        """
        if extension := self.extension(path):
            message = f"{spelled_path(path)}: files that end in .{extension} are never written"
            raise SecurityError(f"{message}; the setting {_KEY} says which", rule="path")
