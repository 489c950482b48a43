"""``llmspell run`` and ``llmspell exec``: a script from a file, or code from the command line.

Invariant: what a script prints appears as it happens, on standard error if standard output is for JSON, which is one
value: what the script answered, or the error. With ``--explain`` the trace follows, also when the script failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .invocation import Invocation, global_options
from .outlet import write_error

if TYPE_CHECKING:
    from llmspell.host import Host

__all__ = ["exec_", "run"]

_EXPLAIN = click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@_EXPLAIN
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
@_EXPLAIN
@global_options
@click.pass_obj
def exec_(invocation: Invocation, code: str, language: str | None, explain: bool) -> None:
    """Run CODE and print what it returns."""

    async def use(host: Host) -> Any:
        chosen = language or host.settings.plain("default_language")
        return await host.run_source(code, language=chosen)

    _run(invocation, use, explain=explain, print_answer=True)


def _run(invocation: Invocation, use: Callable[[Host], Awaitable[Any]], *, explain: bool, print_answer: bool) -> None:
    from .output import print_json, print_value
    from .session import with_host

    traces: list[Any] = []

    async def traced(host: Host) -> Any:
        traces.append(host.trace)
        return await use(host)

    try:
        value = with_host(traced, invocation, trace=explain, write=write_error if invocation.json else None)
    except Exception:
        if explain and traces:
            _print_trace(invocation, traces[0], None)
        raise
    if explain:
        _print_trace(invocation, traces[0], value, print_answer=print_answer)
    elif invocation.json:
        print_json(value)
    elif print_answer:
        print_value(value)


def _print_trace(invocation: Invocation, trace: Any, value: Any, *, print_answer: bool = False) -> None:
    """The hooks that fired, in order, as one table or one JSON value."""
    import msgspec

    from .output import print_json, print_rows, print_value

    rows = [{"order": order, **msgspec.structs.asdict(row)} for order, row in enumerate(trace, 1)]
    if invocation.json:
        print_json({"value": value, "trace": rows})
        return
    if print_answer:
        print_value(value)
    for row in rows:
        row["time"] = f"{row['elapsed_ns'] / 1000:.1f} us"
        row["hook"] = f"{row['plugin']}.{row['hook']}" if row["hook"] else "(runner)"
        row["answer"] = " ".join(filter(None, (row["result"], row["detail"], row["error"])))
    columns = ("order", "point", "component", "hook", "kind", "answer", "time", "change")
    print_rows(rows, columns, empty="no hook fired")
