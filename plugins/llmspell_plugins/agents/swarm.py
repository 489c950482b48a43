"""The swarm: all members answer the same question beside each other, and what enough of them say is the answer.

Votes are compared in a canonical form: JSON by its values, other texts without case, repeated blanks and the dot at
their end. ``consensus`` says when they agree: ``majority`` of the votes, of their ``weighted`` sum, ``unanimous``, or
as a ``judge`` says, who is given the question and all answers. Without agreement the members are told what the others
said and asked again, ``rounds`` in all. What each said stands on a blackboard: ``blackboard/round.1/NAME`` in the state
of the scope ``agent:NAME``.

Invariant: who fails, is denied or takes longer than ``timeout_s`` has no vote. There is no answer without a ``quorum``
of votes: the error tells them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import structs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from llmspell_hookspecs import AgentInput, AgentOutput, Services, State
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import CompositionError, text_of_error
from llmspell_hookspecs.operation import Operations

from .members import Composite, Member, Members, MembersOption, together_of

__all__ = ["Swarm", "SwarmOptions", "canonical", "elected"]

_PARSED: Final = 64 * 1024
_TOLD: Final = 4000


class SwarmOptions(BaseModel):
    """What a swarm takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: MembersOption
    consensus: Literal["majority", "weighted", "unanimous", "judge"] = "majority"
    judge: str = Field(default="", max_length=300, description="Who judges: the name of an agent, or an address.")
    quorum: float = Field(default=0.5, gt=0, le=1, description="Which share of the members must have a vote.")
    rounds: int = Field(default=1, ge=1, le=100, description="How often they are asked until they agree.")
    timeout_s: float | None = Field(default=None, gt=0, description="How long one may take in a round.")
    blackboard: bool = Field(default=True, description="Whether what they say is kept in the state.")

    @model_validator(mode="after")
    def _judge_fits(self) -> SwarmOptions:
        if bool(self.judge) != (self.consensus == "judge"):
            raise ValueError('name a judge where consensus is "judge", and nowhere else')
        return self


class Swarm(Composite):
    """Have all members answer, and answer what enough of them agree on."""

    kind: ClassVar[str] = "swarm"
    capabilities: ClassVar[tuple[str, ...]] = ("composite", "swarm", "consensus")
    Options: ClassVar[type[BaseModel] | None] = SwarmOptions

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._given = SwarmOptions.model_validate(dict(config.options))
        self._members = Members(config, services, self._given.agents)
        judge = (Member(agent=self._given.judge),) if self._given.judge else ()
        self._judges = Members(config, services, judge)
        self._operations = services.get(Operations)
        self._state = services.get(State)

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Ask all members, round after round, until they agree.

        Raises:
            CompositionError: They do not, or too few of them have a vote.
        """
        outputs: list[AgentOutput] = []
        votes: dict[str, str] = {}
        failed: dict[str, str] = {}
        for number in range(1, self._given.rounds + 1):
            votes, failed = await self._vote(_told(input, votes), number, outputs)
            if len(votes) < math.ceil(self._given.quorum * len(self._members.all) - 1e-9):
                continue
            text = await self._agreed(input, votes, outputs)
            if text is not None:
                told = {"votes": votes, "failed": failed, "rounds": number, "consensus": self._given.consensus}
                return await self.answer(input, context, together_of(outputs, text, told))
        raise self._disagreed(votes, failed)

    async def _vote(
        self, input: AgentInput, number: int, outputs: list[AgentOutput]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Ask each member once; returns what each said, and why the others did not."""
        names = [*self._members.all]
        calls = [partial(self._members.ask, name, input, self._given.timeout_s) for name in names]
        ended = await self._operations.together(calls, self.config.max_parallel)
        votes: dict[str, str] = {}
        failed: dict[str, str] = {}
        for name, each in zip(names, ended, strict=True):
            if each.error is not None:
                failed[name] = text_of_error(each.error)
                continue
            outputs.append(each.value)
            votes[name] = each.value.text
            if self._given.blackboard:
                key = f"blackboard/round.{number}/{name.partition(':')[2]}"
                await self._state.set(key, each.value.text, scope=f"agent:{self.config.name}")
        return votes, failed

    async def _agreed(self, input: AgentInput, votes: Mapping[str, str], outputs: list[AgentOutput]) -> str | None:
        if self._given.consensus != "judge":
            weights = {name: member.weight for name, member in self._members.all.items()}
            winner = elected(votes, self._given.consensus, weights)
            return None if winner is None else votes[winner]
        asked = structs.replace(_told(input, votes), messages=None)
        verdict = await self._judges.ask(next(iter(self._judges.all)), asked, self._given.timeout_s)
        outputs.append(verdict)
        return verdict.text

    def _disagreed(self, votes: Mapping[str, str], failed: Mapping[str, str]) -> CompositionError:
        said = [f"{name}: {text[:60]!r}" for name, text in votes.items()]
        missing = [f"{name} failed: {error[:60]}" for name, error in failed.items()]
        what = "do not agree" if votes else "have no vote"
        message = f"agent {self.config.name}: its members {what} ({'; '.join([*said, *missing])[:300]})"
        advice = "ask in more rounds, lower the quorum, or name a judge"
        details = {"votes": dict(votes), "failed": dict(failed)}
        return CompositionError(f"{message}; {advice}", details=details, component=self.config.name)


def canonical(text: str) -> str:
    """Return the form in which a vote is compared."""
    text = text.strip()
    if text[:1] in '{["-0123456789tfn' and len(text) <= _PARSED:
        try:
            return msgspec.json.encode(_plain(msgspec.json.decode(text)), order="deterministic").decode()
        except (msgspec.DecodeError, RecursionError):
            pass
    return " ".join(text.casefold().split()).rstrip(".!")


def _plain(value: Any) -> Any:
    """Return a JSON value in which equal numbers are written alike."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def elected(votes: Mapping[str, str], consensus: str, weights: Mapping[str, float]) -> str | None:
    """Return the first of the members whose vote wins, None if none does.

    Args:
        votes: What each said.
        consensus: ``majority``, ``weighted`` or ``unanimous``.
        weights: What each member's vote counts, where that matters.
    """
    counts: dict[str, float] = {}
    firsts: dict[str, str] = {}
    for name, text in votes.items():
        value = canonical(text)
        firsts.setdefault(value, name)
        counts[value] = counts.get(value, 0.0) + (weights[name] if consensus == "weighted" else 1.0)
    if not counts:
        return None
    best = max(counts, key=lambda value: counts[value])
    total = sum(counts.values())
    wins = len(counts) == 1 if consensus == "unanimous" else counts[best] * 2 > total
    return firsts[best] if wins else None


def _told(input: AgentInput, votes: Mapping[str, str]) -> AgentInput:
    """Return the question, with what was said to it so far."""
    if not votes:
        return input
    said: Sequence[str] = [f"{name.partition(':')[2]}: {text[:_TOLD]}" for name, text in votes.items()]
    return structs.replace(input, text="\n".join([input.text, "", "What was said so far:", *said]))
