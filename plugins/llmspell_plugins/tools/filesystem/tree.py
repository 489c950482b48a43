"""Whole folders: listed, copied, moved and deleted, with every file in them judged like one that is named.

Invariant: before anything in a folder is changed, everything in it has been judged; one file that may not be touched
refuses the whole. A link in a folder is treated as a link, and what it leads to is left alone. All functions block;
call them in a worker thread of trio.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trio
from msgspec import Struct

from llmspell_hookspecs.errors import ResourceLimitError, SecurityError

from .anchor import anchored
from .content import copy_file

__all__ = ["Bounds", "Item", "Judge", "copy_tree", "delete", "kind_of", "make_folders", "move", "survey", "worded"]

Judge = Callable[[str], str]
"""Returns a path resolved, or raises `SecurityError`."""


class Item(Struct, frozen=True):
    """Something in a folder.

    Attributes:
        path: Its whole path.
        status: What it is; of a link, what the link itself is.
    """

    path: str
    status: os.stat_result


class Bounds(Struct, frozen=True):
    """How far a folder is followed.

    Attributes:
        depth: How many folders deep.
        items: How many files and folders in all.
    """

    depth: int
    items: int


def survey(path: str, judge: Judge, bounds: Bounds, *, strict: bool, recursive: bool = True) -> list[Item]:
    """Return all that is in a folder, each folder before what is in it.

    Args:
        path: The folder.
        judge: Asked about each file and folder in it.
        bounds: How far it is followed.
        strict: Whether one that is refused refuses the whole; else it is left out.
        recursive: Whether folders in it are followed.

    Raises:
        SecurityError: One of them is refused.
        ResourceLimitError: There are more than the bounds allow.
    """
    found: list[Item] = []
    waiting = [(path, 1)]
    while waiting:
        folder, depth = waiting.pop()
        trio.from_thread.check_cancelled()
        for item in _entries(folder):
            if not _is_allowed(item, judge, strict=strict):
                continue
            found.append(item)
            if len(found) > bounds.items:
                raise _too_much(path, "items", bounds.items)
            if recursive and stat.S_ISDIR(item.status.st_mode):
                if depth >= bounds.depth:
                    raise _too_much(path, "depth", bounds.depth)
                waiting.append((item.path, depth + 1))
    return found


def delete(path: str, items: list[Item] | None = None) -> int:
    """Delete a file, or a folder with the surveyed items; returns how many files and folders went."""
    for item in reversed(items or []):
        trio.from_thread.check_cancelled()
        _remove(item.path)
    _remove(path)
    return len(items or []) + 1


def copy_tree(source: str, target: str, items: list[Item], max_bytes: int) -> int:
    """Copy a folder with the surveyed items; returns how many files and folders were copied."""
    _make_folder(target)
    for item in items:
        trio.from_thread.check_cancelled()
        place = target + item.path[len(source) :]
        if stat.S_ISDIR(item.status.st_mode):
            _make_folder(place)
        elif stat.S_ISLNK(item.status.st_mode):
            _copy_link(item.path, place)
        else:
            copy_file(item.path, place, max_bytes)
    return len(items) + 1


def move(source: str, target: str) -> None:
    """Move a file or folder; a file that is there is replaced, a folder only if it is empty.

    Raises:
        OSError: ``EXDEV`` if the target is on another file system.
    """
    with anchored(source) as origin, anchored(target) as place:
        origin.status()
        os.rename(origin.name, place.name, src_dir_fd=origin.folder, dst_dir_fd=place.folder)


def make_folders(path: str, judge: Judge, *, parents: bool) -> bool:
    """Make a folder; returns whether it was not there before.

    Args:
        path: The folder.
        judge: Asked about each parent that is made.
        parents: Whether missing parents are made too.
    """
    missing = [path]
    while parents and not os.path.lexists(parent := os.path.dirname(missing[-1])):
        missing.append(judge(parent))
    made = [_make_folder(folder) for folder in reversed(missing)]
    return made[-1]


def kind_of(status: os.stat_result) -> str:
    """Return what it is: ``file``, ``directory``, ``symlink`` or ``other``."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(status.st_mode) else "other"


def worded(status: os.stat_result) -> str:
    """Return what it is, for a message; more than its type where that is ``other``."""
    kind = kind_of(status)
    if kind != "other":
        return f"a {kind}"
    if stat.S_ISFIFO(status.st_mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(status.st_mode) else "a device"


def _entries(folder: str) -> Iterator[Item]:
    with _listed(folder) as descriptor:
        for name in sorted(os.listdir(descriptor)):
            with suppress(FileNotFoundError):  # gone since it was listed
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                yield Item(f"{folder.rstrip('/')}/{name}", status)


@contextmanager
def _listed(folder: str) -> Iterator[int]:
    with anchored(folder) as anchor:
        descriptor = anchor.open_folder()
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _is_allowed(item: Item, judge: Judge, *, strict: bool) -> bool:
    """Whether it may be touched; a link only counts by its own name, unless it is followed."""
    try:
        if stat.S_ISLNK(item.status.st_mode) and strict:
            _judge_link(item.path)
        else:
            judge(item.path)
    except SecurityError:
        if strict:
            raise
        return False
    return True


def _judge_link(path: str) -> None:
    if os.path.basename(path).startswith("."):
        raise SecurityError(f"{path}: hidden files and folders are refused; name the others one by one", rule="path")


def _remove(path: str) -> None:
    with anchored(path) as anchor:
        if stat.S_ISDIR(anchor.status().st_mode):
            os.rmdir(anchor.name, dir_fd=anchor.folder)
        else:
            os.unlink(anchor.name, dir_fd=anchor.folder)


def _make_folder(path: str) -> bool:
    with anchored(path) as anchor:
        try:
            os.mkdir(anchor.name, dir_fd=anchor.folder)
        except FileExistsError:
            if not stat.S_ISDIR(anchor.status().st_mode):
                raise
            return False
    return True


def _copy_link(source: str, target: str) -> None:
    with anchored(source) as origin, anchored(target) as place:
        os.symlink(os.readlink(origin.name, dir_fd=origin.folder), place.name, dir_fd=place.folder)


def _too_much(path: str, what: str, limit: int) -> ResourceLimitError:
    message = (
        f"{path}: it holds more than {limit} {what}; take a smaller folder, or raise the tool's setting max_{what}"
    )
    return ResourceLimitError(message, resource=what, limit=limit)
