"""``llmspell run`` and ``llmspell exec``: a script from a file, or code from the command line.

Invariant: what a script prints appears as it happens, on standard error if standard output is for JSON, which is one
value: what the script answered, or the error. With ``--explain`` the trace follows, also when the script failed.
"""

from __future__ import annotations

from pathlib import Path

import click

from .invocation import Invocation

__all__ = ["exec_", "run"]

_EXPLAIN = click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_EXPLAIN
@click.pass_obj
def run(invocation: Invocation, file: Path, arguments: tuple[str, ...], explain: bool) -> None:
    """Run the script FILE; what stands behind -- are its arguments."""
    invocation.run(lambda host: host.run_script(file, list(arguments)), show=lambda value: None, explain=explain)


@click.command("exec")
@click.argument("code")
@click.option("--language", help="What the code is written in; the setting default_language if left out.")
@_EXPLAIN
@click.pass_obj
def exec_(invocation: Invocation, code: str, language: str | None, explain: bool) -> None:
    """Run CODE and print what it returns."""
    invocation.run(lambda host: host.run_source(code, language), show=invocation.show, explain=explain)
