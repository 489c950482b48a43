"""What the system says about a file, in a tool's words: a code for programs, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from llmspell_hookspecs import ToolError
from llmspell_hookspecs.spelling import spelled_path

__all__ = ["explained", "explaining"]

_CODES = {
    errno.ENOENT: ("not_found", "check the path"),
    errno.EEXIST: ("exists", "take another path"),
    errno.EISDIR: ("is_directory", "name a file"),
    errno.ENOTDIR: ("not_a_directory", "name a folder"),
    errno.ENOTEMPTY: ("not_empty", "set recursive to true"),
    errno.EACCES: ("permission", "check who may use it"),
    errno.EPERM: ("permission", "check who may use it"),
    errno.EINVAL: ("invalid_input", "a folder cannot go into itself"),
    errno.ENOSPC: ("no_space", "make room"),
    errno.EDQUOT: ("no_space", "make room"),
    errno.EROFS: ("permission", "the file system is read-only"),
    errno.ENAMETOOLONG: ("invalid_input", "use a shorter name"),
}


def explained(where: str, path: str, error: OSError) -> ToolError:
    """Return the system's error as the tool's; ``details.error_type`` as in the original."""
    code, remedy = _CODES.get(error.errno or 0, ("tool", "try again"))
    reason = (error.strerror or str(error)).lower()
    message = f"{where}: {spelled_path(path)}: {reason}; {remedy}"
    return ToolError(message, code=code, details={"error_type": "execution_error", "errno": error.errno})


@contextmanager
def explaining(where: str, path: str) -> Iterator[None]:
    """Raise what the system says about a file within the block as the tool's error.

    Raises:
        ToolError: See `explained`.
    """
    try:
        yield
    except OSError as error:
        raise explained(where, path, error) from error
