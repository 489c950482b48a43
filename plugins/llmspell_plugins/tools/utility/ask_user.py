"""The ask-user tool: a question to the person who is there, at the terminal or by an `Answerer` that a plugin brings.

Invariant: an answer is a person's; where there is nobody to ask the call fails and nothing is assumed. One question is
asked at a time. Durations in seconds.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import trio
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import SecurityLevel, Tool, ToolContext, ToolError, ToolExample, ToolResult
from llmspell_hookspecs.errors import ComponentNotFoundError
from llmspell_hookspecs.tool import ToolLimits

from .asking import Answerer, Question, ask_at_terminal, has_terminal

__all__ = ["AskUser", "AskUserParameters"]

_TRIES: Final = 5


class AskUserParameters(BaseModel):
    """What ask-user takes."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["ask", "choose"] = Field(
        default="ask", description="Any answer, or one of choices; choose if there are choices."
    )
    question: str = Field(
        min_length=1,
        max_length=4000,
        validation_alias=AliasChoices("question", "input"),
        description="What to ask; also called input.",
    )
    choices: list[str] = Field(default=[], max_length=50, description="For choose: the answers to take one of.")
    default: str | None = Field(default=None, max_length=4000, description="What an empty answer stands for.")
    timeout_seconds: float = Field(default=300.0, gt=0, le=3600, description="How long to wait for the person.")

    @model_validator(mode="after")
    def _complete(self) -> AskUserParameters:
        if self.operation == "choose" and not self.choices:
            raise ValueError("choose needs choices")
        if len(set(self.choices)) < len(self.choices) or not all(each.strip() for each in self.choices):
            raise ValueError("choices holds one twice, or an empty one")
        if self.choices and self.default is not None and self.default not in self.choices:
            raise ValueError("default is none of choices")
        return self


class AskUser(Tool[AskUserParameters]):
    """Ask the person who is there a question, and return the answer; fails where there is nobody."""

    name = "ask-user"
    aliases = ("ask_user",)
    category = "utility"
    level = SecurityLevel.SAFE
    limits = ToolLimits(time_s=3700)
    examples = (
        ToolExample("a question", {"question": "Which branch shall be released?"}, needs="a person at a terminal"),
        ToolExample(
            "a choice",
            {"operation": "choose", "question": "Delete it?", "choices": ["yes", "no"], "default": "no"},
            needs="a person at a terminal",
        ),
    )

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._turn = trio.Lock()

    async def run(self, parameters: AskUserParameters, context: ToolContext) -> ToolResult:
        """Return ``{answer, index}``; the index, from 1, of a choice.

        Raises:
            ToolError: ``nobody`` if there is nobody to ask, ``no_answer`` if the person gives none, ``timeout``.
        """
        question = Question(parameters.question, tuple(parameters.choices), parameters.default)
        answerer = await self._answerer(context)
        if answerer is None and not has_terminal():
            message = (
                "ask-user: there is nobody to ask; run it at a terminal, or install a plugin of the service answerer"
            )
            raise ToolError(message, code="nobody")
        with trio.move_on_after(parameters.timeout_seconds):
            async with self._turn:
                answer = await self._asked(question, answerer)
            index = question.choices.index(answer) + 1 if question.choices else None
            result = {"answer": answer} if index is None else {"answer": answer, "index": index}
            return ToolResult(operation=parameters.operation, result=result, text=answer)
        message = f"ask-user: nobody answered within {parameters.timeout_seconds:g} s; ask again later"
        raise ToolError(message, code="timeout")

    async def _answerer(self, context: ToolContext) -> Answerer | None:
        try:
            return await context.services.enter(Answerer)
        except ComponentNotFoundError:
            return None

    async def _asked(self, question: Question, answerer: Answerer | None) -> str:
        for _ in range(_TRIES):
            said = await (ask_at_terminal(question) if answerer is None else answerer.answer(question))
            if said is None:
                break
            answer = _understood(question, said.strip())
            if answer is not None:
                return answer
        raise ToolError("ask-user: the person gave no answer; go on without, or ask otherwise", code="no_answer")


def _understood(question: Question, said: str) -> str | None:
    """What an answer stands for; None if it is none."""
    if not said:
        return question.default
    if not question.choices:
        return said
    if said in question.choices:
        return said
    if said.isdecimal() and 1 <= int(said[:9]) <= len(question.choices):
        return question.choices[int(said[:9]) - 1]
    alike = [choice for choice in question.choices if choice.casefold() == said.casefold()]
    return alike[0] if len(alike) == 1 else None
