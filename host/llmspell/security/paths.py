"""Which files may be touched: judges paths by the rules of ``security.paths``.

Invariant: an answered path is absolute, holds no link and no ``..``, and lies below an allowed folder; the judgement is
on what the path resolves to, never on how it is spelled. Whoever opens it later must follow no link on the way, since
the tree may change in between.
"""

from __future__ import annotations

import errno
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Sequence
from fnmatch import translate
from typing import Final, Literal

from msgspec import Struct

from llmspell_hookspecs import SecurityError

__all__ = ["DATA_FOLDER", "PathJudge", "PathRules"]

DATA_FOLDER: Final = ".llmspell"
"""The folder in the project's where the host's own data lie."""

Mode = Literal["read", "write"]

_SYSTEM_FOLDERS = ("/proc", "/sys", "/dev", "/etc")
_SETTINGS_FILE = "llmspell.toml"
_BESIDE = frozenset({"-wal", "-shm", "-journal"})
"""What SQLite puts behind its file's name for the files beside it."""
_MAX_PATH_BYTES = 4096


class PathRules(Struct, frozen=True):
    """Which folders may be touched.

    Attributes:
        read: Folders that may be read; ``~`` is the home folder, ``<tmp>`` the one for temporary files.
        write: Folders that may be written.
        denied: Globs that are refused wherever they lie, with all that is below; without a ``/`` they match any name
            on the way. Upper and lower case are the same.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    denied: tuple[str, ...] = ()


class PathJudge:
    """Judges paths; keeps the protocol FileAccess."""

    def __init__(
        self, rules: PathRules, base: str, *, settings_files: Sequence[str] = (), own: Sequence[str] = ()
    ) -> None:
        """Resolve the rules once.

        Args:
            rules: Which folders may be touched.
            base: The folder that relative paths, in rules and calls, are relative to.
            settings_files: Files that are never read or written, beside every ``llmspell.toml``.
            own: Where the host's own data lie, which are never read or written, beside every ``.llmspell``.
        """
        self._base = os.path.realpath(base)
        self._roots: dict[Mode, tuple[str, ...]] = {
            "read": self._resolve_roots(rules.read),
            "write": self._resolve_roots(rules.write),
        }
        self._system = tuple(dict.fromkeys([*_SYSTEM_FOLDERS, *map(os.path.realpath, _SYSTEM_FOLDERS)]))
        self._settings_files = frozenset(os.path.realpath(os.path.join(self._base, name)) for name in settings_files)
        self._own = tuple(_fold(os.path.realpath(os.path.join(self._base, os.path.expanduser(path)))) for path in own)
        self._denied_names = _union(pattern for pattern in rules.denied if "/" not in pattern)
        self._denied_paths = _union(_anchored(pattern) for pattern in rules.denied if "/" in pattern)

    def roots(self, mode: Mode, /) -> tuple[str, ...]:
        """Answer the folders that may be touched so, resolved."""
        return self._roots[mode]

    def resolve(self, path: str, mode: Mode, /) -> str:
        """Answer the path with every link resolved.

        Raises:
            SecurityError: It is outside what may be touched, hidden, denied, or cannot be a path.
        """
        resolved = self._follow(path)
        root = self._root_of(resolved, mode)
        if root is None:
            raise self._outside(path, resolved, mode)
        reason = self._forbidden(resolved, root, mode)
        if reason:
            raise SecurityError(f"{_shown(path)}: {reason}; {_allowed(self._roots[mode], mode)}", rule="path")
        return resolved

    def _resolve_roots(self, folders: Iterable[str]) -> tuple[str, ...]:
        expanded = (os.path.expanduser(folder.replace("<tmp>", tempfile.gettempdir())) for folder in folders)
        return tuple(dict.fromkeys(os.path.realpath(os.path.join(self._base, folder)) for folder in expanded))

    def _follow(self, path: str) -> str:
        """The path without links; refused if it is none, or its links go in a circle."""
        if not path or "\0" in path:
            raise SecurityError(f"{_shown(path)}: empty, or holds a NUL; give a path", rule="path")
        try:
            size_bytes = len(os.fsencode(path))
        except UnicodeEncodeError as error:
            raise SecurityError(f"{_shown(path)}: cannot be the name of a file; give a path", rule="path") from error
        if size_bytes > _MAX_PATH_BYTES:
            message = f"{_shown(path)}: {size_bytes} bytes long; a path has at most {_MAX_PATH_BYTES}"
            raise SecurityError(message, rule="path")
        resolved = os.path.realpath(os.path.join(self._base, path))
        if _goes_in_a_circle(resolved):
            raise SecurityError(f"{_shown(path)}: its links go in a circle; name the file itself", rule="path")
        return resolved

    def _root_of(self, resolved: str, mode: Mode) -> str | None:
        """The deepest allowed folder that holds the path."""
        holding = [root for root in self._roots[mode] if _is_below(resolved, root)]
        return max(holding, key=len, default=None)

    def _forbidden(self, resolved: str, root: str, mode: Mode) -> str:
        """Why the path is refused although it lies below an allowed folder; empty if it is not."""
        below = resolved[len(root) :].strip("/").split("/")
        if self._is_own(resolved):
            return "the data of llmspell itself are never touched by scripts and tools"
        if any(part.startswith(".") for part in below):
            return "hidden files and folders are refused"
        if any(_is_below(resolved, folder) for folder in self._system):
            return f"{', '.join(_SYSTEM_FOLDERS)} are refused"
        if self._denied(resolved):
            return "a glob of security.paths.denied refuses it"
        if self._is_settings_file(resolved):
            verb = "read, since they may hold secrets," if mode == "read" else "written"
            return f"settings of llmspell are never {verb} by scripts and tools"
        return ""

    def _denied(self, resolved: str) -> bool:
        folded = _fold(resolved)
        if any(self._denied_names.match(part) for part in folded.split("/") if part):
            return True
        ends = [found.start() for found in re.finditer("(?!^)/", folded)]
        return any(self._denied_paths.match(folded[:end]) for end in (*ends, len(folded)))

    def _is_own(self, resolved: str) -> bool:
        """Whether it is the host's own."""
        folded = _fold(resolved)
        if DATA_FOLDER in folded.split("/"):
            return True
        return any(_is_below(folded, path) or folded.removeprefix(path) in _BESIDE for path in self._own)

    def _is_settings_file(self, resolved: str) -> bool:
        return _fold(os.path.basename(resolved)) == _SETTINGS_FILE or resolved in self._settings_files

    def _outside(self, path: str, resolved: str, mode: Mode) -> SecurityError:
        target = "" if resolved == path else f" (it is {_shown(resolved)})"
        verb = "read" if mode == "read" else "written"
        message = f"{_shown(path)}: outside what may be {verb}{target}; {_allowed(self._roots[mode], mode)}"
        return SecurityError(message, rule="path")


def _allowed(roots: Sequence[str], mode: Mode) -> str:
    folders = ", ".join(roots) or "no folder"
    return f"allowed is {folders}, and the setting security.paths.{mode} allows more"


def _goes_in_a_circle(resolved: str) -> bool:
    """Whether links are left: `os.path.realpath` leaves a circle, and all that is behind it, as it stands."""
    if os.path.realpath(resolved) != resolved:
        return True
    try:
        return os.path.realpath(resolved, strict=True) != resolved
    except OSError as error:
        return error.errno == errno.ELOOP


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _fold(text: str) -> str:
    """The text as globs see it: file systems that ignore case or composition must not get round them."""
    return unicodedata.normalize("NFKC", text).casefold()


def _anchored(pattern: str) -> str:
    """A glob that names no place matches at any."""
    return pattern if pattern.startswith(("/", "*")) else f"*/{pattern}"


def _union(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for all the globs; without any it matches nothing."""
    return re.compile("|".join(translate(_fold(pattern)) for pattern in patterns) or r"(?!)")


def _shown(path: str) -> str:
    """The path on one line, cut to a length that fits a message."""
    text = path.encode("unicode_escape").decode("ascii") if not path.isprintable() else path
    return repr(text if len(text) <= 200 else text[:200] + "...")
