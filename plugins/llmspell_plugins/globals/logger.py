"""The global Logger: a script's messages in the host's log, under the name ``llmspell.script``."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Final

from llmspell_hookspecs import ScriptGlobal, script_method

from .wording import text_of

__all__ = ["LOGGER", "TRACE", "Logger"]

TRACE: Final = 5
"""The level below ``logging.DEBUG``."""

LOGGER: Final = logging.getLogger("llmspell.script")


class Logger(ScriptGlobal):
    """Write to the host's log. Each method takes a message and, if wanted, data to show behind it."""

    name: ClassVar[str] = "Logger"

    @script_method(pure=True)
    def trace(self, message: Any, data: Any = None) -> None:
        """Log the finest detail."""
        self._log(TRACE, message, data)

    @script_method(pure=True)
    def debug(self, message: Any, data: Any = None) -> None:
        """Log what helps to find a fault."""
        self._log(logging.DEBUG, message, data)

    @script_method("log", pure=True)
    def info(self, message: Any, data: Any = None) -> None:
        """Log what happened."""
        self._log(logging.INFO, message, data)

    @script_method("warning", pure=True)
    def warn(self, message: Any, data: Any = None) -> None:
        """Log what may be wrong."""
        self._log(logging.WARNING, message, data)

    @script_method(pure=True)
    def error(self, message: Any, data: Any = None) -> None:
        """Log what is wrong."""
        self._log(logging.ERROR, message, data)

    def _log(self, level: int, message: Any, data: Any) -> None:
        if not LOGGER.isEnabledFor(level):
            return
        language = self.scope.language
        text = text_of(message, language)
        shown = text if data is None else f"{text} {text_of(data, language)}"
        LOGGER.log(level, "%s: %s", self.scope.script.name, shown, extra={"script": self.scope.script.name})
