"""Ask agents, converse with them, and list their kinds.

Invariant: what an agent says appears as it comes when somebody watches; the run goes through the runner like any other,
so every hook sees it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import structs

from llmspell_hookspecs.agents import Agents
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_plugins.commands.chat import chat
from llmspell_plugins.commands.chat.making import fields_of, takes_agent
from llmspell_plugins.commands.chat.screen import Screen, note_of

if TYPE_CHECKING:
    from llmspell_hookspecs import AgentOutput
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["agent"]


@click.group()
def agent() -> None:
    """Ask agents, converse with them, and list their kinds."""


@agent.command("list")
@click.pass_obj
def agent_list(invocation: Invocation) -> None:
    """List the kinds of agent that can be made."""

    async def use(host: CommandHost) -> list[dict[str, Any]]:
        kinds = host.get(Agents).kinds()
        return [{name: getattr(kind, name) for name in kind.__struct_fields__} for kind in kinds]

    columns = ("name", "version", "capabilities", "description")
    invocation.show_rows(invocation.run(use), columns, empty="there are no kinds of agent")


@agent.command("show")
@click.argument("kind")
@click.pass_obj
def agent_show(invocation: Invocation, kind: str) -> None:
    """Show what the KIND of agent can do, and which options it takes."""

    async def use(host: CommandHost) -> dict[str, Any]:
        kinds = {each.name: each for each in host.get(Agents).kinds()}
        if kind not in kinds:
            message = f"agent kind {kind!r}: there is none; there are {', '.join(kinds)}"
            raise ComponentNotFoundError(message, address=kind)
        return structs.asdict(kinds[kind])

    row = invocation.run(use)
    lines = [f"{row['name']} {row['version']}: {row['description']}", f"can: {', '.join(row['capabilities'])}"]
    for name, option in row["options"].get("properties", {}).items():
        lines.append(f"options.{name}: {option.get('description') or option.get('type', 'any')}")
    invocation.show(row, *lines)


@agent.command("run")
@click.argument("question")
@click.option("--kind", default="llm", show_default=True, help="The kind of agent.")
@takes_agent
@click.option("--stream/--no-stream", default=None, help="Show the answer as it comes; so on a terminal.")
@click.option("--explain", is_flag=True, help="Show which hooks fired, and what each did.")
@click.pass_obj
def agent_run(
    invocation: Invocation, /, question: str, kind: str, stream: bool | None, explain: bool, **options: Any
) -> None:
    """Ask an agent QUESTION (- for standard input) and print its answer."""
    if question == "-":
        question = invocation.read(question)
    if not question.strip():
        raise click.UsageError("the question is empty; ask something")
    streams = not invocation.json and (sys.stdout.isatty() if stream is None else stream)
    fields = {"kind": kind, **fields_of(options)}

    async def use(host: CommandHost) -> AgentOutput:
        made = await host.get(Agents).create(**fields)
        if not streams:
            return await made.run(question)
        with Screen(invocation) as screen:
            return await made.run(question, sink=screen.show)

    def show(output: AgentOutput) -> None:
        for record in () if streams else output.tool_calls:
            if record.status == "denied":
                invocation.note(note_of(record))
        if not streams:
            invocation.write(output.text + "\n")

    invocation.run(use, show=show, explain=explain)


agent.add_command(chat)
