"""What the host logs, on standard error or in a file, without the secrets that settings or environment hold.

Others' loggers are heard from warning level on.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

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


def write_log(settings: Settings) -> None:
    """Write what is logged from now on as ``[logging]`` says."""
    from llmspell_hookspecs.log_lines import LogLines
    from llmspell_hookspecs.masking import secrets_of

    level, environment = _LEVELS[settings.logging.level], dict(os.environ)
    log = LogLines(
        settings.logging.file,
        put,
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
    root.handlers[:] = [*(handler for handler in root.handlers if not isinstance(handler, LogLines)), log]
