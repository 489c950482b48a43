"""Show past prompts and answers, with their tokens and costs: the calls of models on record, for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from llmspell_plugins.commands.told import time_of

from .journal import outcome_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.journal import JournalRecord

__all__ = ["log"]

_LONGEST = 60


@click.group()
def log() -> None:
    """Show past prompts and answers, their tokens and costs; journal.record says what is kept."""


@log.command("list")
@click.option("--run", default="", metavar="ID", help="Only those of this session or run.")
@click.option("--model", default="", help="Only those of this model: provider/model.")
@click.option("--limit", default=50, type=click.IntRange(1), metavar="N", help="N calls at most.")
@click.pass_obj
def log_list(invocation: Invocation, run: str, model: str, limit: int) -> None:
    """List the calls of models, the newest first."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        from llmspell_hookspecs.errors import LlmspellError
        from llmspell_hookspecs.journal import Journal

        journal = await host.enter(Journal)
        ids = [run] if run else [each.id for each in await journal.runs()]
        rows: list[dict[str, Any]] = []
        for id in ids:
            try:
                records = await journal.records(id)
            except LlmspellError as error:
                if run:
                    raise
                invocation.warn(str(error))
                continue
            rows += [_row(id, each) for each in reversed(records) if _fits(each, model)]
            if len(rows) >= limit:
                break
        return rows[:limit]

    rows = invocation.run(use)
    if not invocation.json:
        rows = [{**row, "when": time_of(row["at_s"]), "asked": _cut(row["asked"])} for row in rows]
        rows = [{**row, "answer": _cut(row["answer"]), "cost": _cost(row["cost_usd"])} for row in rows]
    columns = ("run", "call", "when", "model", "asked", "answer", "input_tokens", "output_tokens", "cost")
    invocation.show_rows(rows, columns, empty='no call of a model is on record; set journal.record = "all"')


@log.command("show")
@click.argument("run")
@click.argument("call", type=click.IntRange(1), required=False)
@click.pass_obj
def log_show(invocation: Invocation, run: str, call: int | None) -> None:
    """Show the conversation of a session or run, or of one of its calls: RUN and CALL as 'log list' has them."""

    async def use(host: CommandHost) -> Sequence[JournalRecord]:
        from llmspell_hookspecs.journal import Journal

        return await (await host.enter(Journal)).records(run)

    found = [each for each in invocation.run(use) if _fits(each, "") and call in (None, each.number)]
    if not found and call is not None:
        raise click.UsageError(f"{run} has no call {call} of a model; see 'llmspell log list --run {run}'")
    if invocation.json:
        invocation.show([{**_row(run, each), "request": each.request, "result": each.result} for each in found])
        return
    said: list[Any] = []
    for each in found:
        said = _tell(invocation, each, said)


def _tell(invocation: Invocation, record: JournalRecord, said: list[Any]) -> list[Any]:
    """Say what is new in a call: not the conversation that the call before it has shown; return all of it."""
    row = _row("", record)
    messages = list(record.request.get("messages", ())) if isinstance(record.request, dict) else []
    new = messages
    if said and messages[: len(said)] == said:
        new = messages[len(said) :]
        if new and new[0].get("role") == "assistant":  # what the call before it answered
            new = new[1:]
    invocation.say(f"== {record.number}  {time_of(record.at_s)}  {row['model']}")
    for message in new:
        _say_message(invocation, str(message.get("role", "")), message)
    if record.status != "completed":
        invocation.say(outcome_of(record))
        return messages
    answer = record.result if isinstance(record.result, dict) else {"text": str(record.result)}
    _say_message(invocation, "assistant", {"content": answer.get("text", ""), "tool_uses": answer.get("tool_uses", ())})
    tokens = f"{row['input_tokens']} tokens in, {row['output_tokens']} out"
    invocation.say(f"-- {tokens}{', ' + _cost(row['cost_usd']) if row['cost_usd'] is not None else ''}")
    return messages


def _say_message(invocation: Invocation, role: str, message: Mapping[str, Any]) -> None:
    text = str(message.get("content", ""))
    if text:
        invocation.say(f"{role}: {text}")
    for use in message.get("tool_uses", ()):
        invocation.say(f"{role} asks for {use.get('name')}({invocation.to_json(use.get('parameters', {}))})")


def _fits(record: JournalRecord, model: str) -> bool:
    return record.kind == "model" and model in ("", record.component)


def _row(run: str, record: JournalRecord) -> dict[str, Any]:
    result = record.result if isinstance(record.result, dict) else {}
    usage = result.get("usage") or {}
    request = record.request if isinstance(record.request, dict) else {}
    messages = request.get("messages") or [{}]
    return {
        "run": run,
        "call": record.number,
        "at_s": record.at_s,
        "model": record.component,
        "status": record.status,
        "asked": str(messages[-1].get("content", "")) if isinstance(messages[-1], dict) else "",
        "answer": str(result.get("text", "")) if record.status == "completed" else outcome_of(record),
        "input_tokens": usage.get("input_tokens", 0) if isinstance(usage, dict) else 0,
        "output_tokens": usage.get("output_tokens", 0) if isinstance(usage, dict) else 0,
        "cost_usd": usage.get("cost_usd") if isinstance(usage, dict) else None,
    }


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def _cost(usd: float | None) -> str:
    return "" if usd is None else f"{usd:.6f} USD"
