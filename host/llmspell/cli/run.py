"""``llmspell run`` and ``llmspell exec``: a script from a file, or code from the command line.

Invariant: what a script prints appears as it happens, on standard error if standard output is for JSON, which is one
value: what the script answered, or the error. With ``--explain`` the trace follows, also when the script failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .explain import EXPLAIN, run_explained
from .invocation import Invocation, global_options
from .outlet import write_error

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["exec_", "run"]


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@EXPLAIN
@global_options
@click.pass_obj
def run(invocation: Invocation, file: Path, arguments: tuple[str, ...], explain: bool) -> None:
    """Run the script FILE; what stands behind -- are its arguments."""

    async def use(host: Host) -> Any:
        return await host.run_script(file, arguments=list(arguments))

    _run(invocation, use, explain=explain, print_answer=False)


@click.command("exec")
@click.argument("code")
@click.option("--language", help="What the code is written in; the setting default_language if left out.")
@EXPLAIN
@global_options
@click.pass_obj
def exec_(invocation: Invocation, code: str, language: str | None, explain: bool) -> None:
    """Run CODE and print what it returns."""

    async def use(host: Host) -> Any:
        chosen = language or host.settings.plain("default_language")
        return await host.run_source(code, language=chosen)

    _run(invocation, use, explain=explain, print_answer=True)


def _run(invocation: Invocation, use: Callable[[Host], Awaitable[Any]], *, explain: bool, print_answer: bool) -> None:
    from .output import print_value

    show = print_value if print_answer else None
    run_explained(invocation, use, show, explain=explain, write=write_error if invocation.json else None)
