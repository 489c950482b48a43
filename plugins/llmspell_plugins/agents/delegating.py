"""The delegating agent: hands each question to one of its members.

``strategy`` says to which: ``first_match`` the first that fits, ``best_match`` the one whose capabilities fit best,
``round_robin`` each in its turn, ``random`` any, ``load_balanced`` the one that is least busy. A member fits if it has
every capability in ``parameters.capabilities``, and one of its ``when`` words stands in the question.

Invariant: of the members that fit each is asked once at most, and ``max_tries`` of them in all; the next one only when
one failed. A denial is final. What ``random`` chose follows from the seed, which the answer tells.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from random import Random
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmspell_hookspecs import AgentInput, AgentOutput, InvalidInputError, LlmspellError, Services
from llmspell_hookspecs.agent import AgentConfig
from llmspell_hookspecs.agents import AgentContext
from llmspell_hookspecs.errors import CompositionError, OperationCancelledError, text_of_error

from .members import Composite, Members, MembersOption, together_of

__all__ = ["Delegating", "DelegatingOptions"]

_WORD: Final = re.compile(r"\w+")
_LONGEST: Final = 20_000
"""So much of a question is looked through for words."""


class DelegatingOptions(BaseModel):
    """What a delegating agent takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agents: MembersOption
    strategy: Literal["first_match", "best_match", "round_robin", "random", "load_balanced"] = "first_match"
    max_tries: int | None = Field(default=None, ge=1, description="How many are asked of one question; all that fit.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Of `random`; drawn, and told, if left out.")


class Delegating(Composite):
    """Hand each question to one of its members: the first that fits, the best, the least busy, each in turn, or any."""

    kind: ClassVar[str] = "delegating"
    capabilities: ClassVar[tuple[str, ...]] = ("composite", "delegation")
    Options: ClassVar[type[BaseModel] | None] = DelegatingOptions

    def __init__(self, config: AgentConfig, services: Services) -> None:
        super().__init__(config, services)
        self._given = DelegatingOptions.model_validate(dict(config.options))
        self._members = Members(config, services, self._given.agents)
        self._seed = secrets.randbits(32) if self._given.seed is None else self._given.seed
        self._runs = 0

    async def run(self, input: AgentInput, context: AgentContext) -> AgentOutput:
        """Ask the members that fit, until one answers.

        Raises:
            CompositionError: None fits, or none of them answered.
            OperationCancelledError: A hook denied one.
        """
        number, self._runs = self._runs, self._runs + 1
        chosen = self._order(self._fitting(input), input, number)[: self._given.max_tries]
        failed: dict[str, str] = {}
        for address in chosen:
            try:
                output = await self._members.ask(address, input)
            except OperationCancelledError:
                raise
            except LlmspellError as error:
                failed[address] = text_of_error(error)
                continue
            told: dict[str, Any] = {"member": address, "strategy": self._given.strategy, "failed": failed}
            if self._given.strategy == "random":
                told |= {"seed": self._seed, "draw": number}
            return await self.answer(input, context, together_of([output], output.text, told))
        why = "; ".join(f"{address}: {error}" for address, error in failed.items())
        message = f"agent {self.config.name}: none of its members answered: {why[:300]}; repair one, or add another"
        raise CompositionError(message, details=failed, component=self.config.name)

    def _fitting(self, input: AgentInput) -> list[str]:
        wanted = _asked(self.config.name, input)
        found = set(_words(input.text))
        fitting = [
            address
            for address, member in self._members.all.items()
            if (not member.when or any(found.issuperset(_words(phrase)) for phrase in member.when))
            and (not wanted or wanted <= self._members.words(address))
        ]
        if not fitting:
            what = f"can do {', '.join(sorted(wanted))}" if wanted else "fits the question"
            message = (
                f"agent {self.config.name}: none of its {len(self._members.all)} members {what}; add one that does"
            )
            raise CompositionError(message, component=self.config.name)
        return fitting

    def _order(self, fitting: list[str], input: AgentInput, number: int) -> list[str]:
        match self._given.strategy:
            case "best_match":
                found = frozenset(_words(input.text))
                return sorted(fitting, key=lambda address: -self._score(address, found))
            case "round_robin":
                first = number % len(fitting)
                return fitting[first:] + fitting[:first]
            case "random":
                Random(f"{self._seed}:{number}").shuffle(fitting)  # noqa: S311 - it chooses, it hides nothing
                return fitting
            case "load_balanced":
                return sorted(fitting, key=self._load)
        return fitting

    def _score(self, address: str, found: Collection[str]) -> float:
        """How well a member fits: a capability that is named counts more than a word of its description."""
        score: float = sum(all(word in found for word in _words(each)) for each in self._members.words(address))
        info = self._members.info(address)
        described = set(_words(info.description)) if info is not None else set()
        return score + len(described.intersection(found)) / (1 + len(described))

    def _load(self, address: str) -> tuple[int, float]:
        """How many runs a member has now, and how long one took on average."""
        info = self._members.info(address)
        return (0, 0.0) if info is None else (info.running, info.busy_s / info.runs if info.runs else 0.0)


def _words(text: str) -> Sequence[str]:
    return _WORD.findall(text[:_LONGEST].casefold())


def _asked(name: str, input: AgentInput) -> frozenset[str]:
    """Return the capabilities that a question asks for."""
    given: Any = input.parameters.get("capabilities", ())
    given = (given,) if isinstance(given, str) else given
    if not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        message = f"agent {name}: parameters.capabilities is no list of texts; give the capabilities that are needed"
        raise InvalidInputError(message, field="parameters.capabilities")
    return frozenset(each.casefold() for each in given)
