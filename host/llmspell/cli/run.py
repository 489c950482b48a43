"""``llmspell run`` and ``llmspell exec``: a script from a file, or code from the command line.

Invariant: what a script prints appears as it happens, on standard error if standard output is for JSON, which is one
value: what the script answered, or the error. With ``--explain`` the trace follows, also when the script failed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .invocation import Invocation

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["exec_", "run"]

_EXPLAIN = click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_EXPLAIN
@click.pass_obj
def run(invocation: Invocation, file: Path, arguments: tuple[str, ...], explain: bool) -> None:
    """Run the script FILE; what stands behind -- are its arguments."""

    async def use(host: Host) -> Any:
        return await host.run_script(file, arguments=list(arguments))

    invocation.run(use, show=lambda value: None, explain=explain)


@click.command("exec")
@click.argument("code")
@click.option("--language", help="What the code is written in; the setting default_language if left out.")
@_EXPLAIN
@click.pass_obj
def exec_(invocation: Invocation, code: str, language: str | None, explain: bool) -> None:
    """Run CODE and print what it returns."""

    async def use(host: Host) -> Any:
        return await host.run_source(code, language=language)

    invocation.run(use, show=invocation.show, explain=explain)
