"""List the journals, show one, check that none was changed, and forget one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmspell_hookspecs.commands import CommandError
from llmspell_plugins.commands.told import size_of, time_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.journal import Journal, JournalRecord, JournalReport, JournalRun

__all__ = ["journal", "outcome_of"]

_LONGEST = 100


@click.group()
def journal() -> None:
    """Show what operations were asked and what came of them; journal.record says which are recorded."""


@journal.command("list")
@click.option("--limit", default=100, type=click.IntRange(1), metavar="N", help="N journals at most.")
@click.pass_obj
def journal_list(invocation: Invocation, limit: int) -> None:
    """List the journals, the newest first."""

    async def use(host: CommandHost) -> Sequence[JournalRun]:
        return await (await _journal_of(host)).runs(limit)

    rows = [_row(run, shown=not invocation.json) for run in invocation.run(use)]
    columns = ("id", "what", "ended", "operations", "failed", "lost", "size")
    invocation.show_rows(rows, columns, empty='nothing is on record; set journal.record = "all"')


@journal.command("show")
@click.argument("id")
@click.option("--kind", default="", help="Only operations of this kind: model, tool, script ...")
@click.option("--path", default="", help="Only what stands below this path.")
@click.option("--full", is_flag=True, help="Show requests, results and hooks' answers whole.")
@click.pass_obj
def journal_show(invocation: Invocation, id: str, kind: str, path: str, full: bool) -> None:
    """Show the operations of a journal as a tree, in the order in which they began."""

    async def use(host: CommandHost) -> Sequence[JournalRecord]:
        return await (await _journal_of(host)).records(id)

    found = [each for each in invocation.run(use) if kind in ("", each.kind) and each.path.startswith(path)]
    if invocation.json:
        from msgspec import to_builtins

        invocation.show([to_builtins(each, enc_hook=str) for each in found])
        return
    for each in found:
        for line in _lines(invocation, each, full=full):
            invocation.say(line)


@journal.command("verify")
@click.argument("id", default="")
@click.pass_obj
def journal_verify(invocation: Invocation, id: str) -> None:
    """Check that no record was changed or taken out, of one journal or of all; ends with 1 if one was.

    It finds what broke and what was changed by hand, not what was written anew as a whole.
    """

    async def use(host: CommandHost) -> Sequence[JournalReport]:
        return await (await _journal_of(host)).verify(id)

    reports = invocation.run(use)
    wrong = [each for each in reports if each.problem]
    if invocation.json:
        rows = [{name: getattr(each, name) for name in each.__struct_fields__} for each in reports]
        invocation.show(rows)
    if wrong:
        first = wrong[0]
        place = f", at {first.path}" if first.path else ""
        more = f" (and {len(wrong) - 1} more journals)" if len(wrong) > 1 else ""
        raise CommandError(f"journal {first.id}: {first.problem}{place}; {first.records} records are in order{more}")
    if not invocation.json:
        records = sum(each.records for each in reports)
        invocation.say(f"{records} records of {len(reports)} journal{'' if len(reports) == 1 else 's'} are in order")


@journal.command("forget")
@click.argument("id")
@click.pass_obj
def journal_forget(invocation: Invocation, id: str) -> None:
    """Delete a journal with all that it holds."""

    async def use(host: CommandHost) -> int:
        return await (await _journal_of(host)).forget(id)

    records = invocation.run(use)
    invocation.show({"id": id, "records": records}, f"{records} records of {id} are deleted")


async def _journal_of(host: CommandHost) -> Journal:
    from llmspell_hookspecs.journal import Journal

    return await host.enter(Journal)


def outcome_of(record: JournalRecord) -> str:
    """Return in a few words how an operation ended."""
    if record.status == "completed":
        return "completed"
    result = record.result if isinstance(record.result, dict) else {}
    return f"{record.status} ({record.code}): {result.get('message', '')}"


def _row(run: JournalRun, *, shown: bool) -> dict[str, Any]:
    if not shown:
        return {name: getattr(run, name) for name in run.__struct_fields__}
    return {
        "id": run.id,
        "what": "session" if run.session else run.component,
        "ended": time_of(run.ended_s),
        "operations": run.records,
        "failed": run.failed or "",
        "lost": run.lost or "",
        "size": size_of(run.size_bytes),
    }


def _lines(invocation: Invocation, record: JournalRecord, *, full: bool) -> list[str]:
    depth = record.path.count("/") - 1
    indent = "  " * depth
    step = record.path.rpartition("/")[2]
    lines = [f"{indent}{step}  {outcome_of(record)}, {record.elapsed_ns / 1e6:.1f} ms"]
    for answer in record.answers:
        lines.append(f"{indent}    {answer.point}: {answer.hook} answered {answer.result}")
        if full:
            lines.append(f"{indent}      {invocation.to_json(answer.value)}")
    for word, value in (("asked", record.request), ("result", record.result)):
        text = invocation.to_json(value)
        if full or len(text) <= _LONGEST:
            lines.append(f"{indent}    {word} {text}")
        else:
            lines.append(f"{indent}    {word} {text[:_LONGEST]}...")
    return lines
