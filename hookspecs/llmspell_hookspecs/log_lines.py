"""What is logged, as lines: one a record, with its time (UTC), level and logger; for people, or as JSON.

Invariant: none of the given secrets is in a line, nor anything that steers a terminal; a log that cannot be written
harms nobody, and is told once.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property

from .errors import line_of_error
from .masking import masked
from .spelling import one_line

__all__ = ["LogLines"]


class LogLines(logging.Handler):
    """Writes records where errors are written now, or to a file.

    Args:
        file: The file's name; empty for where errors are written.
        put: Writes a line where errors are written now.
        as_json: Whether a record is a JSON object.
        find_secrets: Returns what no line may hold; asked at the first one, and most commands log none.
    """

    def __init__(
        self, file: str, put: Callable[[str], None], *, as_json: bool, find_secrets: Callable[[], Sequence[str]]
    ) -> None:
        super().__init__()
        self._file = os.path.expanduser(file)
        self._put = put
        self._descriptor: int | None = None
        self._as_json = as_json
        self._find_secrets = find_secrets

    @cached_property
    def _secrets(self) -> Sequence[str]:
        return self._find_secrets()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one."""
        with suppress(Exception):  # what others logged cannot be made a text of
            line = self._line(record)
            if not (self._file and self._added(line)):
                self._put(line)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
        super().close()

    def _line(self, record: logging.LogRecord) -> str:
        level, message = record.levelname.lower(), one_line(masked(record.getMessage(), self._secrets))
        at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z"
        if not self._as_json:
            return f"{at} {level} {one_line(record.name)}: {message}"
        row = {"time": at, "level": level, "logger": record.name, "message": message}
        if record.exc_info and record.exc_info[1] is not None:
            row["exception"] = masked(logging.Formatter().formatException(record.exc_info), self._secrets)
        return json.dumps(row)

    def _added(self, line: str) -> bool:
        """Add a line to the file; where that fails it is told, and standard error takes all lines from then on."""
        data = (line + "\n").encode(errors="backslashreplace")
        try:
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
                self._descriptor = os.open(self._file, flags | os.O_NONBLOCK, 0o600)  # a pipe may have no reader
            written = os.write(self._descriptor, data)
        except (OSError, ValueError) as error:
            problem = getattr(error, "strerror", None) or line_of_error(error)
        else:
            if written == len(data):
                return True
            problem = "No space left on device"
        name, self._file = self._file, ""
        self.close()
        message = f"log file {name}: it cannot be written: {problem}; standard error takes it, name another --log-file"
        self._put(self._line(logging.makeLogRecord({"name": "llmspell.log", "levelname": "WARNING", "msg": message})))
        return False
