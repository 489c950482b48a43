"""Where the command line begins and ends.

Invariant: bad input is one line on standard error and never a traceback, unless ``--debug`` is given. Exit codes:
0 done, 1 a script or tool failed, 2 wrong usage or settings, 130 interrupted, 141 nobody reads the output, 143
terminated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from .group import LazyGroup
from .invocation import Invocation, global_options

__all__ = ["cli", "main"]

_SIGNALLED = (130, 143)
_FLUSH_S = 1.0
COMMANDS = {
    "run": ("llmspell.cli.run:run", "Run a script."),
    "exec": ("llmspell.cli.run:exec_", "Run code that is given on the command line."),
    "repl": ("llmspell.cli.repl:repl", "Type code and see what it answers."),
    "agent": ("llmspell.cli.agent:agent", "Ask agents, and list their kinds."),
    "provider": ("llmspell.cli.provider:provider", "List and test the providers of models."),
    "plugin": ("llmspell.cli.plugin:plugin", "List, switch and examine plugins."),
    "hook": ("llmspell.cli.hook:hook", "List hook points and hooks, and show their order."),
    "event": ("llmspell.cli.event:event", "Watch events."),
    "tool": ("llmspell.cli.tool:tool", "List, describe and invoke tools."),
    "state": ("llmspell.cli.state:state", "Read and write the values that scripts and plugins keep."),
    "config": ("llmspell.cli.config:config", "Show and check the settings."),
    "trust": ("llmspell.cli.trust:trust", "Let a project's settings file loosen policy."),
    "untrust": ("llmspell.cli.trust:untrust", "Let it only tighten policy again."),
    "version": ("llmspell.cli.version:version", "Print the version."),
}


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"llmspell {version('llmspell')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A noun answers to its plural too: llmspell tools list.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@global_options
def cli() -> None:
    """A plugin host for language-model agents, tools and workflows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    invocation = Invocation()
    _replace_closed_streams()
    code = _run(invocation, arguments)
    if not _let_go_of_stdout(patient=code not in _SIGNALLED):
        os._exit(code)  # a thread holds it, and waits for a reader for ever
    sys.exit(code)


def _run(invocation: Invocation, arguments: Sequence[str] | None) -> int:
    try:
        result = cli.main(
            args=None if arguments is None else list(arguments),
            prog_name="llmspell",
            standalone_mode=False,
            obj=invocation,
        )
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        click.echo("llmspell: interrupted", err=True)
        return 130
    except click.Abort:
        return 130
    except Exception as error:
        from .failure import report

        return report(error, debug=invocation.debug, verbose=invocation.verbose > 0)


def _replace_closed_streams() -> None:
    """Let what was closed by whoever started us read as empty and swallow what is written."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as we run


def _let_go_of_stdout(*, patient: bool) -> bool:
    """Write out what waits, and keep the interpreter from complaining, as it ends, that it cannot be written.

    Args:
        patient: Whether to wait for a reader as long as it takes; a second if not.

    Returns:
        Whether nobody holds standard output any more.
    """
    if patient:
        _flush_stdout()
        return True
    from threading import Thread

    flush = Thread(target=_flush_stdout, daemon=True)
    flush.start()
    flush.join(_FLUSH_S)
    return not flush.is_alive()


def _flush_stdout() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
