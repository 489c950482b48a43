"""Paths: how they are spelled in settings, how globs see them, and which links lie on the way."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from .spelling import spelled_path

__all__ = [
    "expand_root",
    "fold_path",
    "goes_in_a_circle",
    "home_folder",
    "is_below",
    "links_on",
    "shown_path",
    "state_of",
    "told_state",
    "upward",
]

_KINDS: Final = {stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
_MOST_LINKS = 40


def home_folder() -> str | None:
    """Return the user's home folder; None if nobody knows it. An empty ``HOME`` says nothing."""
    named = os.environ.get("HOME", "")
    if os.path.isabs(named):
        return named
    try:
        import pwd

        known = pwd.getpwuid(os.getuid()).pw_dir
    except ImportError:
        known = os.path.expanduser("~")
    except KeyError:
        return None
    return known if os.path.isabs(known) else None


def expand_root(text: str) -> str:
    """Return the path that an entry of the rules stands for, as it is spelled: ``<tmp>`` and ``~`` are filled in."""
    text = text.replace("<tmp>", tempfile.gettempdir()) if "<tmp>" in text else text
    if text == "~" or text.startswith("~/"):
        home = home_folder()
        return text if home is None else home.rstrip("/") + text[1:] or "/"
    return os.path.expanduser(text)


def fold_path(text: str) -> str:
    """Return the text as globs see it, which file systems that ignore case, composition or what has no width want."""
    if text.isascii():
        return text.lower()
    bare = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return unicodedata.normalize("NFKC", bare).casefold()


def upward(path: str) -> Iterator[str]:
    """Yield the path and each folder above it, the nearest first."""
    while True:
        yield path
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is this folder, or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def links_on(path: str) -> Iterator[str]:
    """Yield each link on the way to an absolute path, where it lies, so that it cannot be moved away."""
    waiting = [path]
    for _ in range(_MOST_LINKS):
        if not waiting:
            return
        for folder in reversed(list(upward(waiting.pop()))):
            if os.path.islink(folder):
                yield os.path.join(os.path.realpath(os.path.dirname(folder)), os.path.basename(folder))
                waiting.append(os.path.normpath(os.path.join(os.path.dirname(folder), os.readlink(folder))))


def goes_in_a_circle(resolved: str) -> bool:
    """Return whether links are left: `os.path.realpath` leaves a circle, and all that is behind it, as it stands."""
    if os.path.realpath(resolved) != resolved:
        return True
    try:
        return os.path.realpath(resolved, strict=True) != resolved
    except OSError as error:
        return error.errno == errno.ELOOP


def shown_path(path: str) -> str:
    """Return the path on one line, cut to a length that fits a message."""
    text = spelled_path(path)
    return f"'{text if len(text) <= 200 else text[:200] + '...'}'"


def state_of(place: str) -> dict[str, Any]:
    """Return where a place leads, what it is and whose: for whoever trusts it as it is now. Plain, for JSON."""
    resolved = os.path.realpath(place)
    kind, owner, mounted = "not there", None, False
    try:
        status = os.stat(resolved)
    except OSError:
        pass
    else:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file and no folder")
        owner, mounted = status.st_uid, os.path.ismount(resolved)
    return {
        "leads_to": resolved,
        "linked": resolved != os.path.normpath(place),
        "kind": kind,
        "owner": owner,
        "mounted": mounted,
    }


def told_state(state: Any) -> str:
    """Return a state for people."""
    if not isinstance(state, dict):
        return "not known"
    if state.get("linked"):
        return f"a link to {state.get('leads_to')}"
    kind = f"{state.get('kind')} at {state.get('leads_to')}" if state.get("kind") == "not there" else state.get("kind")
    more = " on a file system of its own" if state.get("mounted") else ""
    return f"{kind} of user {state.get('owner')}{more}" if state.get("owner") is not None else str(kind)
