"""Which files may be touched: the rules of ``security.paths``, and who judges paths by them.

The host's `FileAccess` asks such a judge; give one in its place to a tool that is tested without a host.

Invariant: an answered path is absolute, holds no link and no ``..``, and lies below an allowed folder; the judgement is
on what the path resolves to, never on how it is spelled. Whoever opens it later must follow no link on the way, since
the tree may change in between. An allowed folder is resolved once, when it is first named: one that becomes a link
later leads nowhere. Nor does one that the base's own links lead to: who wrote what lies there chose where to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from .errors import SecurityError
from .globs import Globs
from .paths import expand_root, fold_path, goes_in_a_circle, is_below, links_on, shown_path, upward
from .policy import Policy
from .sections import Names, Section

__all__ = ["DATA_FOLDER", "PathJudge", "PathRules"]

DATA_FOLDER: Final = ".llmspell"
"""The folder in the project's where the host's own data lie."""

Mode = Literal["read", "write"]

_SYSTEM_FOLDERS = ("/proc", "/sys", "/dev", "/etc")
_SETTINGS_FILE = "llmspell.toml"
_BESIDE = frozenset({"-wal", "-shm", "-journal"})
"""What SQLite puts behind its file's name for the files beside it."""
_MAX_PATH_BYTES = 4096
_MODES: Final[tuple[Mode, Mode]] = ("read", "write")


DENIED_PATHS: Names = (
    ".ssh",
    ".gnupg",
    ".aws",
    ".kube",
    ".docker/config.json",
    ".netrc",
    ".pgpass",
    ".env",
    ".env.*",
    "id_rsa*",
    "id_ed25519*",
    "*.pem",
)


class PathRules(Section):
    """``[security.paths]``: what scripts and tools may touch. Relative to the project's folder.

    ``~`` is the home folder, ``<tmp>`` the one for temporary files. What is denied goes with all that is below it, and
    a glob without a ``/`` matches any name on the way; upper and lower case are the same.
    """

    read: Annotated[Names, Policy.PATHS_WITHIN] = Field(default=(".", "<tmp>"), description="Folders that may be read.")
    write: Annotated[Names, Policy.PATHS_WITHIN] = Field(
        default=(".", "<tmp>"), description="Folders that may be written."
    )
    denied: Annotated[Names, Policy.SUPERSET_ONLY] = Field(
        default=DENIED_PATHS,
        description="Globs of names, or of paths, that are refused wherever they lie; a project file adds to them.",
    )

    @field_validator("read", "write")
    @classmethod
    def _are_paths(cls, value: Names) -> Names:
        for name in value:
            if not name or "\0" in name or not _is_encodable(name):
                raise ValueError("should hold paths: none is empty, holds a NUL or half a sign")
        return value


def _is_encodable(text: str) -> bool:
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


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
            own: Where the host's own files lie, which are never read or written, beside every ``.llmspell``.
        """
        self._base = os.path.realpath(base)
        self._follows = False
        self._resolved: dict[str, str | None] = {}
        self._system = tuple(dict.fromkeys([*_SYSTEM_FOLDERS, *map(os.path.realpath, _SYSTEM_FOLDERS)]))
        self._protect(own, settings_files)
        self._apply(rules)

    def with_rules(
        self,
        rules: PathRules,
        *,
        own: Sequence[str] | None = None,
        settings_files: Sequence[str] | None = None,
        follows: bool = False,
    ) -> PathJudge:
        """Return a judge by other rules; a folder that both name stays where it was found first.

        Args:
            rules: Which folders may be touched.
            own: Further files and folders of the host.
            settings_files: Further files of settings.
            follows: Whether links in the base are followed to new folders: only if whoever names them may not loosen,
                or was trusted with what they lead to.
        """
        if rules == self._rules and own is None and settings_files is None:
            return self
        other = copy(self)
        other._resolved, other._follows = dict(self._resolved), follows
        other._protect(own or (), settings_files or (), beside=self)
        if rules != self._rules:
            other._apply(rules)
        return other

    def exceeds(self, other: PathJudge) -> tuple[str, ...]:
        """Return the rules by which this judge permits what the other one refuses, or may do so.

        The other one is asked about each allowed folder, as about any path: one that it does not reach, or calls
        hidden, would open what was closed.
        """
        beyond: list[str] = [mode for mode in _MODES if not all(other._opens(root, mode) for root in self._roots[mode])]
        if not (self._denied_names.cover(other._denied_names) and self._denied_paths.cover(other._denied_paths)):
            beyond.append("denied")
        protected = other._own <= self._own and other._settings_files <= self._settings_files
        return tuple(beyond) if protected and self._base == other._base else ("read", "write", "denied")

    def roots(self, mode: Mode, /) -> tuple[str, ...]:
        """Return the folders that may be touched so, resolved."""
        return self._roots[mode]

    def resolve(self, path: str, mode: Mode, /) -> str:
        """Return the path with every link resolved.

        Raises:
            SecurityError: It is outside what may be touched, hidden, denied, or cannot be a path.
        """
        resolved = self._follow(path)
        if self._root_of(resolved, mode) is None:
            raise self._outside(path, resolved, mode)
        reason = self._forbidden(resolved, mode)
        if reason:
            raise SecurityError(f"{shown_path(path)}: {reason}; {_allowed(self._roots[mode], mode)}", rule="path")
        return resolved

    def _protect(self, own: Sequence[str], settings_files: Sequence[str], beside: PathJudge | None = None) -> None:
        """Put these places out of reach, beside those that are, and the links that lead to them."""
        spelled = [os.path.abspath(os.path.join(self._base, expand_root(path))) for path in own]
        files = [os.path.abspath(os.path.join(self._base, name)) for name in settings_files]
        self._own = frozenset(map(fold_path, [*spelled, *map(os.path.realpath, spelled)]))
        self._settings_files = frozenset(map(fold_path, [*files, *map(os.path.realpath, files)]))
        self._ways = tuple(dict.fromkeys(fold_path(link) for each in (*spelled, *files) for link in links_on(each)))
        if beside is not None:
            self._own |= beside._own
            self._settings_files |= beside._settings_files
            self._ways = tuple(dict.fromkeys((*self._ways, *beside._ways)))

    def _apply(self, rules: PathRules) -> None:
        self._rules = rules
        self._roots: dict[Mode, tuple[str, ...]] = {
            "read": self._resolve_roots(rules.read),
            "write": self._resolve_roots(rules.write),
        }
        self._root_sets = {mode: frozenset(roots) for mode, roots in self._roots.items()}
        self._denied_names = Globs([pattern for pattern in rules.denied if "/" not in pattern], fold_path)
        self._denied_paths = Globs([_anchored(pattern) for pattern in rules.denied if "/" in pattern], fold_path)

    def _resolve_roots(self, folders: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(place for each in folders if (place := self._place(each)) is not None))

    def linked(self, mode: Mode, /) -> tuple[str, ...]:
        """Return the entries of the rules that lead nowhere, since links in the base would lead them elsewhere."""
        return tuple(each for each in getattr(self._rules, mode) if self._place(each) is None)

    def _place(self, folder: str) -> str | None:
        """Where an entry of the rules leads, None for nowhere; asked of the file system once."""
        if folder not in self._resolved:
            spelled = os.path.join(self._base, expand_root(folder))
            inside = (link != self._base and is_below(link, self._base) for link in links_on(spelled))
            kept = self._follows or not any(inside)
            self._resolved[folder] = os.path.realpath(spelled) if kept else None
        return self._resolved[folder]

    def _opens(self, folder: str, mode: Mode) -> bool:
        """Whether all that would be allowed below the folder is allowed here."""
        return self._root_of(folder, mode) is not None and not self._hidden(folder, mode)

    def _hidden(self, resolved: str, mode: Mode) -> bool:
        """Whether a name between the path and the allowed folder above it is hidden."""
        root = self._root_of(resolved, mode) or "/"
        return any(part.startswith(".") for part in resolved[len(root) :].strip("/").split("/"))

    def _follow(self, path: str) -> str:
        """The path without links; refused if it is none, or its links go in a circle."""
        if not path or "\0" in path:
            raise SecurityError(f"{shown_path(path)}: it is empty, or holds a NUL; give a path", rule="path")
        try:
            name = os.fsencode(path)
        except UnicodeEncodeError as error:
            message = f"{shown_path(path)}: it cannot be the name of a file; give a path"
            raise SecurityError(message, rule="path") from error
        if len(name) > _MAX_PATH_BYTES:
            message = f"{shown_path(path)}: {len(name)} bytes long; a path has at most {_MAX_PATH_BYTES}"
            raise SecurityError(message, rule="path")
        try:
            # From the bytes again: bytes that are UTF-8 together may have come as halves, which no glob would match.
            resolved = os.path.realpath(os.path.join(self._base, os.fsdecode(name)))
            circular = goes_in_a_circle(resolved)
        except OSError as error:  # what was a link is none any more when it is read
            message = f"{shown_path(path)}: it changed while it was looked at ({error.strerror}); ask again"
            raise SecurityError(message, rule="path") from error
        if circular:
            raise SecurityError(f"{shown_path(path)}: its links go in a circle; name the file itself", rule="path")
        return resolved

    def _root_of(self, resolved: str, mode: Mode) -> str | None:
        """The deepest allowed folder that holds the path."""
        roots = self._root_sets[mode]
        return next((folder for folder in upward(resolved) if folder in roots), None)

    def _forbidden(self, resolved: str, mode: Mode) -> str:
        """Why the path is refused although it lies below an allowed folder; empty if it is not."""
        if self._is_own(resolved):
            return "the files of llmspell itself are never touched by scripts and tools"
        if mode == "write" and any(is_below(link, fold_path(resolved)) for link in self._ways):
            return "it holds a link on the way to llmspell's own files, so it stays as it is"
        if self._hidden(resolved, mode):
            return "hidden files and folders are refused"
        if any(is_below(resolved, folder) for folder in self._system):
            return f"{', '.join(_SYSTEM_FOLDERS)} are refused"
        if self._denied(resolved):
            return "a glob of security.paths.denied refuses it"
        if self._is_settings_file(resolved):
            verb = "read, since they may hold secrets," if mode == "read" else "written"
            return f"settings of llmspell are never {verb} by scripts and tools"
        return ""

    def _denied(self, resolved: str) -> bool:
        folded = fold_path(resolved)
        if any(self._denied_names.match(part) for part in folded.split("/") if part):
            return True
        ends = [found.start() for found in re.finditer("(?!^)/", folded)]
        return any(self._denied_paths.match(folded[:end]) for end in (*ends, len(folded)))

    def _is_own(self, resolved: str) -> bool:
        """Whether it is the host's own."""
        folded = fold_path(resolved)
        if DATA_FOLDER in folded.split("/"):
            return True
        if any(folder in self._own for folder in upward(folded)):
            return True
        return any(folded.endswith(end) and folded.removesuffix(end) in self._own for end in _BESIDE)

    def _is_settings_file(self, resolved: str) -> bool:
        folded = fold_path(resolved)
        return os.path.basename(folded) == _SETTINGS_FILE or folded in self._settings_files

    def _outside(self, path: str, resolved: str, mode: Mode) -> SecurityError:
        target = "" if resolved == path else f" (it is {shown_path(resolved)})"
        verb = "read" if mode == "read" else "written"
        message = f"{shown_path(path)}: outside what may be {verb}{target}; {_allowed(self._roots[mode], mode)}"
        return SecurityError(message, rule="path")


def _allowed(roots: Sequence[str], mode: Mode) -> str:
    folders = ", ".join(roots) or "no folder"
    return f"allowed is {folders}, and the setting security.paths.{mode} allows more"


def _anchored(pattern: str) -> str:
    """A glob that names no place matches at any."""
    return pattern if pattern.startswith(("/", "*")) else f"*/{pattern}"
