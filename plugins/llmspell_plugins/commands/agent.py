"""Ask agents, and list their kinds.

Invariant: what an agent says appears as it comes when somebody watches; the run goes through the runner like any other,
so every hook sees it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

import click

from llmspell_hookspecs.agents import Agents
from llmspell_hookspecs.spelling import one_line

if TYPE_CHECKING:
    from llmspell_hookspecs import AgentOutput
    from llmspell_hookspecs.agent import AgentChunk, ToolRecord
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["agent"]


@click.group()
def agent() -> None:
    """Ask agents, and list their kinds."""


@agent.command("list")
@click.pass_obj
def agent_list(invocation: Invocation) -> None:
    """List the kinds of agent that can be made."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        kinds = host.get(Agents).kinds()
        return [{name: getattr(kind, name) for name in kind.__struct_fields__} for kind in kinds]

    columns = ("name", "version", "capabilities", "description")
    invocation.show_rows(invocation.run(use), columns, empty="there are no kinds of agent")


@agent.command("run")
@click.argument("question")
@click.option("--kind", default="llm", show_default=True, help="The kind of agent.")
@click.option("--model", default="", help="provider/model; the default model if left out.", metavar="MODEL")
@click.option("--tool", "tools", multiple=True, help="A tool that it may use; may be given several times.")
@click.option("--tools", "tool_list", default="", help="Tools that it may use, with commas between.", metavar="NAMES")
@click.option("--system", default="", help="What the model is told before the question.", metavar="TEXT")
@click.option("--temperature", type=click.FloatRange(0, 2), help="The model's temperature.")
@click.option("--max-tokens", type=click.IntRange(1), help="How long one answer of the model may be.")
@click.option("--max-steps", type=click.IntRange(1), help="How often the model may be asked.")
@click.option("--time", "time_s", type=click.FloatRange(0, min_open=True), help="Seconds that the run may take.")
@click.option("--stream/--no-stream", default=None, help="Show the answer as it comes; so on a terminal.")
@click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")
@click.pass_obj
def agent_run(
    invocation: Invocation, /, question: str, tools: tuple[str, ...], tool_list: str, explain: bool, **options: Any
) -> None:
    """Ask an agent QUESTION (- for standard input) and print its answer."""
    if question == "-":
        question = invocation.read(question)
    if not question.strip():
        raise click.UsageError("the question is empty; ask something")
    stream = options.pop("stream")
    streams = not invocation.json and (sys.stdout.isatty() if stream is None else stream)
    names = (*tools, *(name.strip() for name in tool_list.split(",") if name.strip()))
    given = {name: value for name, value in options.items() if value is not None}
    fields = {**given, "tools": names, "system_prompt": given.pop("system", "")}
    fields.pop("system", None)

    async def use(host: CommandHost) -> AgentOutput:
        made = await host.get(Agents).create(**fields)
        if not streams:
            return await made.run(question)
        with _Screen(invocation) as screen:
            return await made.run(question, sink=screen.show)

    def show(output: AgentOutput) -> None:
        for record in () if streams else output.tool_calls:
            if record.status == "denied":
                invocation.note(_note_of(record))
        if not streams:
            invocation.write(output.text + "\n")

    invocation.run(use, show=show, explain=explain)


def _note_of(record: ToolRecord) -> str:
    """What became of a tool, on one line: ``[nap completed in 3 ms]``."""
    if record.status != "denied":
        return f"[{record.name} {record.status} in {record.elapsed_ms:.0f} ms]"
    return one_line(f"[{record.name} denied by hook {record.hook} at {record.point}: {record.text[8:].strip()}]")


class _Screen:
    """Writes chunks as they come: the answer to standard output, what tools do to standard error.

    Invariant: a note, an error and the prompt of the shell begin on a line of their own.
    """

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._within_line = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_line()

    async def show(self, chunk: AgentChunk) -> None:
        """Write one."""
        if chunk.kind == "text" and chunk.text:
            self._invocation.write(chunk.text)
            self._within_line = not chunk.text.endswith("\n")
        elif chunk.kind == "restart":
            self._note("[begins anew]")
        elif chunk.tool_result is not None:
            self._note(_note_of(chunk.tool_result))

    def _note(self, text: str) -> None:
        self._end_line()
        self._invocation.note(text)

    def _end_line(self) -> None:
        if self._within_line:
            self._within_line = False
            self._invocation.write("\n")
