"""What changed in a folder: single changes, and those of one file that follow each other closely as one.

Invariant: what comes out tells, put one after another, how the folder became what it is; a file that came and went
within the time is not told. Times in seconds, by the clock of whoever asks.
"""

from __future__ import annotations

from msgspec import Struct, structs

__all__ = ["Change", "Changes"]


class Change(Struct, frozen=True):
    """Something that happened to a file or folder.

    Attributes:
        kind: ``created``, ``modified``, ``deleted`` or ``renamed``.
        path: What it is called; of one renamed, now.
        old_path: Of one renamed, what it was called.
        is_folder: Whether it is a folder.
        time_s: When it was seen, in seconds since 1970.
        replaces: Whether another may have had the name before: it is new, and was renamed to it.
    """

    kind: str
    path: str
    old_path: str = ""
    is_folder: bool = False
    time_s: float = 0.0
    replaces: bool = False


class Changes:
    """Changes that wait until their file has been quiet for so long."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._waiting: dict[str, tuple[Change, float]] = {}
        self._renamed: dict[str, str] = {}
        """Where those that wait were renamed to, by their earlier names."""
        self._at_once: list[Change] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._at_once)

    def add(self, change: Change, now_s: float) -> None:
        """Take a change that was seen now."""
        if not self._quiet_s:
            self._at_once.append(change)
            return
        self._tell_renames(change)
        earlier = self._pop(change.old_path or change.path)
        if change.old_path:
            self._pop(change.path)  # what had the name is gone
        joined = change if earlier is None else _joined(earlier, change)
        if joined is not None:
            self._waiting[joined.path] = (joined, now_s + self._quiet_s)
            if joined.old_path:
                self._renamed[joined.old_path] = joined.path

    def _tell_renames(self, change: Change) -> None:
        """Tell a rename at once that would not be known from what follows: it may have put a file out of its place."""
        names = (change.old_path, change.path) if change.kind in ("renamed", "deleted") else ()
        for name in (*names, *(self._renamed.get(each, "") for each in (change.old_path, change.path))):
            waiting = self._waiting.get(name)
            if waiting is not None and (waiting[0].kind == "renamed" or waiting[0].replaces):
                self._at_once.append(waiting[0])
                self._pop(name)

    def _pop(self, path: str) -> Change | None:
        change, _ = self._waiting.pop(path, (None, 0.0))
        if change is not None:
            self._renamed.pop(change.old_path, None)
        return change

    def due_s(self) -> float:
        """Return when the next change is due; infinity if none waits, long ago if one is now."""
        if self._at_once:
            return float("-inf")
        # each waits equally long and is put last when it is added, so the first is the next
        return next((due_s for _, due_s in self._waiting.values()), float("inf"))

    def take(self, now_s: float) -> list[Change]:
        """Return the changes whose files have been quiet, in the order they became so."""
        taken, self._at_once = self._at_once, []
        while self._waiting:
            path, (change, due_s) = next(iter(self._waiting.items()))
            if due_s > now_s:
                break
            self._pop(path)
            taken.append(change)
        return taken


def _joined(earlier: Change, change: Change) -> Change | None:
    """What two changes of one file are together; None for nothing."""
    match earlier.kind, change.kind:
        case "created", "deleted":
            return None
        case "created", "renamed":
            return structs.replace(change, kind="created", old_path="", replaces=True)
        case "deleted", "created":
            return structs.replace(change, kind="modified")
        case (("created" | "renamed"), _):
            return structs.replace(earlier, time_s=change.time_s)
    return change
