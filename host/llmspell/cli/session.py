"""Opens a host for one command and closes it whatever happens: the one ``trio.run``.

With ``--explain`` the trace follows what was asked for, as a table on standard output, or with JSON in the one value
that there is: ``{"value": ..., "trace": [...]}``, and ``{"error": ..., "trace": [...]}`` if it failed.

Invariant: the first Ctrl-C, SIGTERM, SIGHUP or SIGQUIT cancels everything and waits for it to end cleanly; the second
ends the process at once. A command may take a Ctrl-C as its own, to cancel less. What scripts print goes to standard
error where standard output is for JSON.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from .failure import Exit
from .invocation import Invocation
from .outlet import write_error
from .output import print_json, print_rows
from .signals import ENDINGS, Signals, code_of

if TYPE_CHECKING:
    from llmspell.hooks import TraceRow
    from llmspell.host import Host

__all__ = ["run_cancellable", "run_with_host"]

T = TypeVar("T")


def run_with_host(
    invocation: Invocation,
    function: Callable[[Host], Awaitable[T]],
    *,
    show: Callable[[T], object] | None = None,
    explain: bool = False,
    read_line: Callable[[], str | None] | None = None,
    on_interrupt: Callable[[], bool] | None = None,
) -> T:
    """Run the function with a host of this call's settings, and print what it returned; see the contract."""
    from llmspell.host import Host

    loaded = invocation.load_settings()
    write = write_error if invocation.json else None
    traces: list[Sequence[TraceRow]] = []

    async def use() -> T:
        opening = Host.open(settings=loaded, trace=explain, write=write, read_line=read_line)
        async with opening as host:
            traces.append(host.trace)
            gc.freeze()
            gc.enable()
            return await function(host)

    try:
        value = run_cancellable(use, invocation.signals, on_interrupt)
    except Exception:
        if explain and traces:
            invocation.beside["trace"] = rows = _rows(traces[0])
            if not invocation.json:
                _print_trace(rows)
        raise
    if show is not None and invocation.json:
        print_json({"value": value, "trace": _rows(traces[0])} if explain else value)
    elif show is not None:
        show(value)
    if explain and not invocation.json:
        _print_trace(_rows(traces[0]))
    return value


def run_cancellable(
    function: Callable[[], Awaitable[T]], signals: Signals, on_interrupt: Callable[[], bool] | None = None
) -> T:
    """Run an async function to its end, or until a signal cancels it that ``on_interrupt`` does not deal with.

    Raises:
        Exit: A signal did.
    """
    answers: list[T] = []

    async def main() -> None:
        scope = trio.CancelScope()
        token = trio.lowlevel.current_trio_token()

        def take(number: int) -> None:
            if number == signal.SIGINT and on_interrupt is not None and on_interrupt():
                signals.dealt()
            else:
                signals.ending(number)
                scope.cancel()

        signals.pass_to(lambda number: token.run_sync_soon(take, number))
        try:
            with scope:
                answers.append(await function())
        finally:
            signals.pass_to(None)

    try:
        trio.run(main)
    except Exception as error:
        if not signals.received:
            raise
        raise _ended_by(signals) from error
    if signals.received:
        raise _ended_by(signals)
    return answers[0]


def _ended_by(signals: Signals) -> Exit:
    signals.tell()
    return Exit(code_of(signals.received), word=ENDINGS[signals.received].replace(" ", "_"))


def _rows(trace: Sequence[TraceRow]) -> list[dict[str, Any]]:
    import msgspec

    return [{"order": order, **msgspec.structs.asdict(row)} for order, row in enumerate(trace, 1)]


def _print_trace(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["time"] = f"{row['elapsed_ns'] / 1000:.1f} us"
        row["hook"] = f"{row['plugin']}.{row['hook']}" if row["hook"] else "(runner)"
        row["answer"] = " ".join(filter(None, (row["result"], row["detail"], row["error"])))
    columns = ("order", "point", "component", "hook", "kind", "answer", "time", "change")
    print_rows(rows, columns, empty="no hook fired")
