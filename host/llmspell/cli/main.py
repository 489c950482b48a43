"""Where the command line begins and ends.

Invariant: bad input is one line on standard error and never a traceback, unless ``--debug`` is given. Signals and
streams are safe before anything else is imported. The exit codes are `EXIT_CODES` in `failure`.
"""

from __future__ import annotations

import gc
import os
import sys

from .signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_FLUSH_S = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: Those of the process if None; a caller who gives some has its streams and signals back afterwards.
    """
    if arguments is None:
        gc.disable()  # what is imported stays; looking through it several times takes a tenth of the start
        # At its first model pydantic imports plugins of its own from whatever is installed, before settings can say no.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    signals = Signals()
    signals.install()
    from .outlet import guard_streams, let_go

    undo = guard_streams()
    try:
        code = _run(signals, arguments)
        let_go(sys.stderr)
        if signals.received and not _has_let_go_of_stdout():
            os._exit(code)  # a thread holds it, and waits for a reader for ever
        let_go(sys.stdout)
        sys.exit(code)
    finally:
        if arguments is not None:
            signals.restore()
            undo()


def _run(signals: Signals, arguments: Sequence[str] | None) -> int:
    from .failure import Reporting
    from .invocation import Invocation
    from .root import cli

    invocation = Invocation(signals)
    given = list(sys.argv[1:] if arguments is None else arguments)
    with Reporting(invocation, given) as reporting:
        result = cli.main(args=given, prog_name="llmspell", standalone_mode=False, obj=invocation)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    return reporting.code


def _has_let_go_of_stdout() -> bool:
    """Write out what waits, for a second at most; return whether nobody holds standard output any more."""
    from threading import Thread

    from .outlet import let_go

    flush = Thread(target=let_go, args=(sys.stdout,), daemon=True)
    flush.start()
    flush.join(_FLUSH_S)
    return not flush.is_alive()
