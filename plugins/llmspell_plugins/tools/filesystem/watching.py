"""The system's own news of what happens in folders, by watchdog, from its threads into a bounded inbox.

Invariant: links are not followed; an inbox that is full counts what it leaves out instead of growing; what is made once
is told once. Times in seconds.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import trio

from llmspell_hookspecs.errors import ResourceLimitError

from .changes import Change

__all__ = ["Inbox", "Watch", "folders_in"]

_KINDS: Final = {
    "attrib": "modified",
    "created": "created",
    "deleted": "deleted",
    "modified": "modified",
    "moved": "renamed",
}
_TWICE_S: Final = 10.0
"""How much later the same news may come again; that something was deleted in between may have been lost."""
_MOST_MADE: Final = 10_000


class Inbox:
    """What threads put in and one task takes out."""

    def __init__(self, most: int) -> None:
        self.left_out = 0
        self._most = most
        self._held: deque[Change] = deque()
        self._lock = threading.Lock()
        self._token = trio.lowlevel.current_trio_token()
        self._news = trio.Event()

    def put(self, change: Change) -> None:
        """Put one in, from a thread; when it is full, only count it."""
        with self._lock:
            if len(self._held) >= self._most:
                self.left_out += 1
                return
            self._held.append(change)
            is_first = len(self._held) == 1
        if is_first:
            try:
                self._token.run_sync_soon(self._tell)
            except trio.RunFinishedError:
                return

    def _tell(self) -> None:
        self._news.set()

    async def wait(self) -> list[Change]:
        """Wait for news and return all there is."""
        await self._news.wait()
        self._news = trio.Event()
        with self._lock:
            taken = list(self._held)
            self._held.clear()
        return taken


class _Made:
    """What was made of late and is still there, so that what is found twice is told once."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def is_again(self, kind: str, path: str, old: str, now_s: float) -> bool:
        """Take a change in; return whether it tells a second time that something was made."""
        if kind in ("deleted", "renamed"):
            within = old + os.sep
            for each in [each for each in self._since if each == old or each.startswith(within)]:
                del self._since[each]
        if kind != "created":
            return False
        again = now_s - self._since.pop(path, -_TWICE_S) < _TWICE_S
        self._since[path] = now_s
        if len(self._since) > _MOST_MADE:
            del self._since[next(iter(self._since))]
        return again


class Watch:
    """Watches folders until it is stopped; `start` and `stop` block, call them in a worker thread."""

    def __init__(self, put: Callable[[Change], None]) -> None:
        self._put = put
        self._made = _Made()
        self._observer: Any = None

    def start(self, folders: dict[str, bool]) -> None:
        """Watch folders; when it returns, nothing that happens from then on is missed.

        Args:
            folders: Each with whether folders in it are watched too.

        Raises:
            OSError: One cannot be watched.
        """
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        # A folder made within one just made is found twice, by its walk and by its news. As an error (-W error) the
        # warning of it would end the thread that all watches of the process share.
        warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning, "watchdog")
        handler = FileSystemEventHandler()
        handler.dispatch = self._dispatch  # type: ignore[method-assign]
        self._observer = Observer()
        for folder, recursive in folders.items():
            self._observer.schedule(handler, folder, recursive=recursive)
        self._observer.start()

    def _dispatch(self, event: Any) -> None:
        kind = _KINDS.get(event.event_type)
        if kind is None or (kind == "modified" and event.is_directory):  # of a folder, what is in it tells more
            return
        path, old = os.fsdecode(event.dest_path or event.src_path), os.fsdecode(event.src_path)
        if self._made.is_again(kind, path, old, time.monotonic()):
            return  # in a folder just made, by watchdog's walk through it and by the system's news
        self._put(Change(kind, path, old if kind == "renamed" else "", event.is_directory, time.time()))

    def stop(self) -> None:
        """End its threads."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.unschedule_all()
            observer.stop()
            if observer.is_alive():
                observer.join()


def folders_in(path: str, most: int) -> int:
    """Return how many folders there are, links not followed; blocks, call it in a worker thread.

    Raises:
        ResourceLimitError: More than so many.
    """
    count = 0
    for _ in os.walk(path):
        trio.from_thread.check_cancelled()
        count += 1
        if count > most:
            message = (
                f"file_watcher: {path}: it holds more than {most} folders; "
                "take a smaller one, set recursive to false, or raise the setting max_folders"
            )
            raise ResourceLimitError(message, resource="folders", limit=most)
    return count
