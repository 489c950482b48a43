"""``--explain``: which hooks fired, in order, and what each did; also when what was asked for failed.

Invariant: the trace follows the answer, as a table on standard output, or with JSON in the one value that there is:
``{"value": ..., "trace": [...]}``, and ``{"error": ..., "trace": [...]}`` if it failed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .invocation import Invocation

if TYPE_CHECKING:
    from llmspell.hooks import TraceRow
    from llmspell.host import Host

__all__ = ["EXPLAIN", "run_explained"]

T = TypeVar("T")

EXPLAIN = click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")


def run_explained(
    invocation: Invocation,
    use: Callable[[Host], Awaitable[T]],
    show: Callable[[T], object] | None,
    *,
    explain: bool,
    write: Callable[[str], object] | None = None,
) -> T:
    """Run the function with a host, print what it answered, and the trace if it is wanted.

    Args:
        invocation: Says whether JSON is wanted, which prints the answer as it is.
        use: What to run.
        show: Prints the answer for people; None if it is not to be printed.
        explain: Whether the trace is wanted.
        write: Where scripts write to; standard output if None.
    """
    from .output import print_json
    from .session import with_host

    traces: list[Any] = []

    async def traced(host: Host) -> T:
        traces.append(host.trace)
        return await use(host)

    try:
        value = with_host(traced, invocation, trace=explain, write=write)
    except Exception:
        if explain and traces:
            rows = _rows(traces[0])
            invocation.beside["trace"] = rows
            if not invocation.json:
                _print_trace(rows)
        raise
    if show is not None and not invocation.json:
        show(value)
    if invocation.json:
        print_json({"value": value, "trace": _rows(traces[0])} if explain else value)
    elif explain:
        _print_trace(_rows(traces[0]))
    return value


def _rows(trace: Sequence[TraceRow]) -> list[dict[str, Any]]:
    import msgspec

    return [{"order": order, **msgspec.structs.asdict(row)} for order, row in enumerate(trace, 1)]


def _print_trace(rows: list[dict[str, Any]]) -> None:
    """The hooks that fired, in order, as one table."""
    from .output import print_rows

    for row in rows:
        row["time"] = f"{row['elapsed_ns'] / 1000:.1f} us"
        row["hook"] = f"{row['plugin']}.{row['hook']}" if row["hook"] else "(runner)"
        row["answer"] = " ".join(filter(None, (row["result"], row["detail"], row["error"])))
    columns = ("order", "point", "component", "hook", "kind", "answer", "time", "change")
    print_rows(rows, columns, empty="no hook fired")
