"""What the host logs, on standard error or in a file: one line a record, with its time (UTC), level and logger.

Invariant: no secret that settings or environment hold is in a line, nor anything that steers a terminal; a log that
cannot be written harms nobody, and is told once. Others' loggers are heard from warning level on.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from llmspell_hookspecs.errors import line_of_error

from .outlet import put

if TYPE_CHECKING:
    from llmspell.settings import Settings

__all__ = ["write_log"]

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


class _Log(logging.Handler):
    """Writes records where errors are written now, or to a file.

    Args:
        file: The file's name; empty for standard error.
        as_json: Whether a record is a JSON object.
        find_secrets: Returns what no line may hold; asked at the first one, and most commands log none.
    """

    def __init__(self, file: str, *, as_json: bool, find_secrets: Callable[[], Sequence[str]]) -> None:
        super().__init__()
        self._file = os.path.expanduser(file)
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
                put(line)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = None
        super().close()

    def _line(self, record: logging.LogRecord) -> str:
        from llmspell_hookspecs.masking import masked
        from llmspell_hookspecs.spelling import one_line

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
        put(self._line(logging.makeLogRecord({"name": "llmspell.log", "levelname": "WARNING", "msg": message})))
        return False


def write_log(settings: Settings) -> None:
    """Write what is logged from now on as ``[logging]`` says."""
    from llmspell_hookspecs.masking import secrets_of

    level, environment = _LEVELS[settings.logging.level], dict(os.environ)
    log = _Log(
        settings.logging.file,
        as_json=settings.logging.format == "json",
        find_secrets=lambda: secrets_of(settings.model_dump(), environment),
    )
    own, root = logging.getLogger("llmspell"), logging.getLogger()
    own.setLevel(level)
    own.propagate = False
    for before in own.handlers:
        before.close()
    own.handlers[:] = [log]
    of_others = max(level, logging.WARNING)
    log.addFilter(lambda record: record.levelno >= of_others or record.name.partition(".")[0] == own.name)
    root.handlers[:] = [*(handler for handler in root.handlers if not isinstance(handler, _Log)), log]
