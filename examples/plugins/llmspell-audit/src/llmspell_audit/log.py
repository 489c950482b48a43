"""The log: a file of JSON lines that only grows.

Invariant: each operation has one ``asked`` and one ``ended``, in this order; a line is on the disk when the method that
logs it returns. Both methods block: call them in a worker thread.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["AuditLog"]


class AuditLog:
    """Appends to a file, from any thread.

    Args:
        path: The file; it and its folder are made if they are not there, for the user alone.

    Attributes:
        failure: Why the last line could not be written; empty if it was.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.failure = ""
        self._path = path
        self._lock = threading.Lock()
        self._running: set[str] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._append()

    def asked(self, operation: str, row: Mapping[str, Any]) -> None:
        """Log what was asked for, unless this operation has been logged already."""
        with self._lock:
            if operation not in self._running:
                self._append(row)
                self._running.add(operation)

    def ended(self, operation: str, asked: Mapping[str, Any], row: Mapping[str, Any]) -> None:
        """Log how it ended, and before that what was asked for if it ended too early for that."""
        with self._lock:
            rows = [row] if operation in self._running else [asked, row]
            self._running.discard(operation)
            self._append(*rows)

    def _append(self, *rows: Mapping[str, Any]) -> None:
        """Append lines in one write, so that processes which share the file never mix theirs."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        lines = text.encode("utf-8", "backslashreplace")
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(descriptor, lines) < len(lines):
                    raise OSError(errno.ENOSPC, "a line was cut short", str(self._path))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.failure = str(error)
            raise
        self.failure = ""
