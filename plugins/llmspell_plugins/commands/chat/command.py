"""The command ``llmspell chat``: on a terminal with history and a person to ask, else line by line from a pipe."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .making import fields_of, takes_agent

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation
    from llmspell_hookspecs.sessions import SessionInfo, Sessions
    from llmspell_plugins.commands.repl.lines import Lines

    from .deciding import Ask
    from .talk import Reader, Talk

__all__ = ["chat"]

_LAST: Final = "the last one"
_TAG: Final = "chat"


@click.command()
@takes_agent
@click.option("--resume", default="", help="Go on with the conversation of this session.", metavar="ID")
@click.option("--last", is_flag=True, help="Go on with the conversation that was held last.")
@click.option("--take-over", is_flag=True, help="Take the conversation from the process that holds it.")
@click.option("--name", default="", help="What the conversation is called in 'llmspell session list'.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    help="On a terminal, keep what is typed in FILE; in the user's data folder if left out.",
    metavar="FILE",
)
@click.pass_obj
def chat(
    invocation: Invocation, /, resume: str, last: bool, take_over: bool, name: str, history: Path | None, **options: Any
) -> int:
    """Converse with an agent, which remembers what was said.

    Each conversation is a session, so it can be gone on with: llmspell chat --last. What guards want a person asked
    about is asked as it comes. .help lists the prompt's own commands.
    """
    from llmspell_plugins.commands.repl.lines import Lines

    if resume and last:
        raise click.UsageError("--resume names one conversation, and --last another; leave out one of them")
    conversation = _Conversation(invocation, fields_of(options), _LAST if last else resume, name, take_over=take_over)
    with closing(Lines(sys.stdin.fileno())) as lines:
        if sys.stdin.isatty() and sys.stdout.isatty() and not invocation.json:
            return _on_terminal(conversation, lines, history or invocation.data_dir / "chat_history")
        invocation.run(lambda host: conversation.hold(host, lines, None), read_line=lines.read_line)
        return 1 if conversation.failures else 0


def _on_terminal(conversation: _Conversation, lines: Lines, history: Path) -> int:
    from prompt_toolkit.history import InMemoryHistory

    from llmspell_plugins.commands.repl.terminal import Terminal
    from llmspell_plugins.commands.repl.tty import given_back, open_terminal

    from .talk import COMMANDS, Asked

    invocation = conversation.invocation
    questions = open_terminal(invocation, lines, history, COMMANDS)
    verdicts = Terminal(lines, InMemoryHistory(), (), invocation.guarded)

    async def ask(prompt: str) -> str | None:
        return await verdicts.ask(Asked(prompt))

    def interrupt() -> bool:
        if not conversation.interrupt():
            return False
        questions.interrupt()
        return True

    with given_back(invocation):
        invocation.run(
            lambda host: conversation.hold(host, questions, ask), read_line=lines.read_line, on_interrupt=interrupt
        )
    return 0


class _Conversation:
    """What a call of the command is about.

    Attributes:
        invocation: The call.
        failures: How many questions failed.
    """

    def __init__(
        self, invocation: Invocation, fields: dict[str, Any], resume: str, name: str, *, take_over: bool
    ) -> None:
        self.invocation = invocation
        self.failures = 0
        self._fields = fields
        self._resume = resume
        self._name = name
        self._take_over = take_over
        self._talk: Talk | None = None

    def interrupt(self) -> bool:
        """End the answer that is being given; returns False if there is nothing to end but the command."""
        return self._talk is not None and self._talk.interrupt()

    async def hold(self, host: CommandHost, reader: Reader, ask: Ask | None) -> None:
        """Find or make its session, and converse within it."""
        from llmspell_hookspecs.sessions import Sessions

        sessions = await host.enter(Sessions)
        info = await self._session(sessions)
        await sessions.within(info.id, self._converse, host, info.id, reader, ask, take_over=self._take_over)

    async def _session(self, sessions: Sessions) -> SessionInfo:
        from llmspell_hookspecs.errors import ComponentNotFoundError
        from llmspell_hookspecs.sessions import SessionDraft, SessionQuery

        if not self._resume:
            return await sessions.create(SessionDraft(self._name, tags=(_TAG,)))
        if self._resume != _LAST:
            info = await sessions.get(self._resume)
        else:
            query = SessionQuery(("active", "suspended"), (_TAG,), self._name, sort="updated", descending=True, limit=1)
            found = await sessions.list(query)
            if not found:
                raise ComponentNotFoundError("chat: there is none to go on with; leave out --last", address="session:")
            info = found[0]
        return await sessions.resume(info.id, take_over=self._take_over) if info.status == "suspended" else info

    async def _converse(self, host: CommandHost, id: str, reader: Reader, ask: Ask | None) -> None:
        from llmspell_hookspecs.agents import Agents
        from llmspell_hookspecs.state import State

        from .book import Book
        from .deciding import Decisions
        from .talk import Talk, cost_of

        book = await Book.open(host.get(State), id)
        fields = {**book.fields, **self._fields}
        agent = await host.get(Agents).create(name=f"chat.{id}", **fields)
        agent.remember(book.messages)
        await book.keep_agent(fields)
        decisions = None if ask is None else Decisions(host, self.invocation, ask)
        self._talk = talk = Talk(host, self.invocation, reader, agent, book, decisions)
        if ask is not None:
            tools = f" with {', '.join(agent.config.tools)}" if agent.config.tools else ""
            turns = f", {book.turns} turns so far" if book.turns else ""
            self.invocation.note(f"llmspell chat: {agent.config.model}{tools}{turns}; .help tells more, Ctrl-D ends")
        try:
            await talk.hold()
        finally:
            self.failures = talk.failures
            if ask is not None or talk.answers:
                self.invocation.note(f"{talk.answers} answers: {cost_of(talk.usage)}")
                self.invocation.note(f"'llmspell chat --resume {id}' goes on with it")
