"""A conversation: question after question, each answered by a run of the agent, and the prompt's own commands.

Invariant: whatever goes wrong is one line, and the conversation goes on; an interrupt ends the answer that is being
given, of which nothing is kept, and nothing else.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from llmspell_hookspecs import AgentOutput, Message
from llmspell_hookspecs.agents import AgentHandle
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.commands.repl.lines import Partner
from llmspell_plugins.commands.repl.prompt import Prompt, no_command

from .book import Book, Pending
from .deciding import Decisions
from .screen import Screen

if TYPE_CHECKING:
    from llmspell_hookspecs.commands import CommandHost, Invocation

__all__ = ["COMMANDS", "Asked", "Reader", "Talk", "cost_of"]

COMMANDS: Final = {
    ".help": "show this",
    ".history": "show what was said",
    ".cost": "show what it used so far",
    ".forget": "begin anew: what was said is deleted",
    ".exit": "end; so do .quit and Ctrl-D",
    ".quit": "end",
}
_KEYS: Final = """A line that ends with a backslash goes on in the next one. Ctrl-C clears the line, or stops the
answer that is being given."""
_COMMAND: Final = re.compile(r"\.([a-z]+)\s*\Z")


class Asked:
    """Whom what is typed is for; implements `Partner`.

    Args:
        language: What the prompt says.
    """

    def __init__(self, language: str) -> None:
        self.language = language

    async def is_incomplete(self, source: str, /) -> bool:
        """Return whether a text ends with a backslash."""
        return source.endswith("\\")

    async def complete(self, text: str, /) -> Sequence[str]:
        """Return nothing: people say what they want."""
        return ()


class Reader(Protocol):
    """Where questions come from."""

    async def ask(self, session: Partner, /) -> str | None:
        """Return the next one; None at the end."""


class Talk(Prompt):
    """One conversation, from its first question to its end.

    Args:
        host: Has the services.
        invocation: The call of the command line.
        reader: Where questions come from.
        agent: Answers.
        book: Keeps what was said.
        decisions: Asks a person what guards want to know; None if none sits there, and then such calls are denied.

    Attributes:
        failures: How many questions and commands failed.
        answers: How many questions were answered.
        usage: What these answers used.
    """

    def __init__(
        self,
        host: CommandHost,
        invocation: Invocation,
        reader: Reader,
        agent: AgentHandle,
        book: Book,
        decisions: Decisions | None,
    ) -> None:
        super().__init__()
        self.failures = 0
        self.answers = 0
        self.usage = ModelUsage()
        self._host = host
        self._invocation = invocation
        self._reader = reader
        self._agent = agent
        self._book = book
        self._decisions = decisions
        self._commands: dict[str, Callable[[], Awaitable[None]]] = {
            "cost": self._cost,
            "exit": self._exit,
            "forget": self._forget,
            "help": self._help,
            "history": self._history,
            "quit": self._exit,
        }

    async def hold(self) -> None:
        """Answer question after question until there is none."""
        pending = self._book.pending
        if pending is not None:
            self._invocation.note(f"[goes on with what was cut off: {pending.text}]")
            await self._question(pending, begun=True)
        you = Asked("you")
        while not self._over:
            text = await self._reader.ask(you)
            if text is None:
                self._over = True
            elif text.strip():
                await self._take(text.replace("\\\n", "\n").removesuffix("\\").strip())

    async def _take(self, text: str) -> None:
        command = _COMMAND.match(text)
        if command is None:
            await self._question(Pending(secrets.token_hex(16), text))
        else:
            await self._guarded(lambda: self._obey(command[1]))

    async def _guarded(self, function: Callable[[], Awaitable[None]]) -> bool:
        """Run something that an interrupt may end, and return whether it came to its own end."""
        failed = False
        with self._interruptible() as scope:
            try:
                await function()
            except Exception as error:  # whatever it is, the conversation goes on
                failed = True
                self.failures += 1
                self._invocation.report(error)
        if scope.cancelled_caught:
            self._invocation.note("[stopped; nothing of this is remembered]")
        return not (failed or scope.cancelled_caught)

    # A question

    async def _question(self, pending: Pending, *, begun: bool = False) -> None:
        if not await self._guarded(lambda: self._answer(pending, begun=begun)):
            await self._guarded(lambda: self._end(pending))

    async def _answer(self, pending: Pending, *, begun: bool) -> None:
        before = self._agent.conversation
        with Screen(self._invocation, begins=True) as screen:
            if self._decisions is None:
                output = await self._agent.run(pending.text, sink=None if self._invocation.json else screen.show)
            else:
                output = await self._answer_kept(pending, screen, self._decisions, begun=begun)
        if output.finish_reason == "paused":
            self._invocation.note(f"[it waits: {output.metadata['error']}; resume this chat when that is done]")
            self._over = True
            return
        if self._invocation.json:
            self._invocation.write(self._invocation.to_json(output) + "\n")
        known = {id(message) for message in before}
        turn = [message for message in self._agent.conversation if id(message) not in known]
        self.answers += 1
        self.usage = self.usage + output.usage
        await self._book.add(turn, output.usage)
        await self._end(pending)

    async def _answer_kept(self, pending: Pending, screen: Screen, decisions: Decisions, *, begun: bool) -> AgentOutput:
        """Run the agent durably, so that a person may be asked meanwhile; paused if it waits for something else."""
        agent, run_id = self._agent, pending.run_id
        if begun:
            output = await agent.go_on(run_id, take_over=True, sink=screen.show)
        else:
            await self._book.begin(pending)
            output = await agent.run(pending.text, sink=screen.show, durable=True, run_id=run_id)
        while output.finish_reason == "paused":
            screen.again()
            verdicts = await decisions.decide(run_id, output.metadata["waiting"])
            if verdicts is None:
                break
            output = await agent.go_on(run_id, verdicts=verdicts, sink=screen.show)
        return output

    async def _end(self, pending: Pending) -> None:
        """Forget a question, and the run that answered it."""
        if self._decisions is not None:
            await self._book.drop()
            await (await self._host.enter(Workflows)).delete_run(pending.run_id)

    # The prompt's own commands

    async def _obey(self, name: str) -> None:
        if name in self._commands:
            await self._commands[name]()
            return
        raise no_command(name, self._commands)

    async def _help(self) -> None:
        rows = [{"command": name, "does": text} for name, text in COMMANDS.items()]
        self._invocation.show_rows(rows, ("command", "does"))
        if not self._invocation.json:
            self._invocation.say(_KEYS)

    async def _history(self) -> None:
        if self._invocation.json:
            self._invocation.show(list(self._agent.conversation))
            return
        for message in self._agent.conversation:
            self._invocation.say(_told(message))

    async def _cost(self) -> None:
        usage = self._book.usage
        self._invocation.show(usage, f"{self._book.turns} turns, {cost_of(usage)}")

    async def _forget(self) -> None:
        self._agent.forget()
        await self._book.forget()

    async def _exit(self) -> None:
        self._over = True


def _told(message: Message) -> str:
    who = {"user": "you", "tool": message.name}.get(message.role, message.role)
    asks = ", ".join(use.name for use in message.tool_uses)
    said = message.content or (f"[asks for {asks}]" if asks else "")
    return f"{who}: {said}"


def cost_of(usage: ModelUsage) -> str:
    """Return what calls of models used, for people."""
    cost = "at a cost that is not known" if usage.cost_usd is None else f"{usage.cost_usd:.6f} USD"
    return f"{usage.input_tokens} tokens in, {usage.output_tokens} out, {cost}"
