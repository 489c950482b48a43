"""The delegating agent: which member each strategy asks, what becomes of one that fails, and what a guard denies."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some

from kernel import make_plugin, make_tool
from llmspell import Host
from llmspell_hookspecs import AgentOutput, Cancel, HookContext, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.agents import AgentHandle
from llmspell_hookspecs.errors import ComponentNotFoundError, CompositionError
from llmspell_hookspecs.model import ModelUsage
from llmspell_hookspecs.workflows import Workflows
from team_members import Sayer, in_host, sayer


async def team(host: Host, *agents: Any, **options: Any) -> AgentHandle:
    return await host.agents.create(name="desk", kind="delegating", options={"agents": list(agents), **options})


def members(output: AgentOutput) -> str:
    return str(output.metadata["member"]).removeprefix("agent:")


def test_the_first_member_whose_words_stand_in_the_question_is_asked() -> None:
    async def main(host: Host) -> list[str]:
        for name in ("sums", "texts"):
            await sayer(host, name)
        desk = await team(host, {"agent": "sums", "when": ["add up", "sum"]}, "texts")
        return [(await desk.run(text)).text for text in ("what is the SUM?", "add this up", "write a poem")]

    assert in_host(main) == ["sums: what is the SUM?", "sums: add this up", "texts: write a poem"]


def test_the_best_member_is_the_one_whose_capabilities_the_question_names() -> None:
    async def main(host: Host) -> list[str]:
        await sayer(host, "clerk", description="Keeps the files in order.")
        await sayer(host, "poet", capabilities=["poetry", "rhyme"])
        await sayer(host, "analyst", capabilities=["data analysis"], tags=["statistics"])
        desk = await team(host, "clerk", "poet", "analyst", strategy="best_match")
        texts = ("some poetry with a rhyme", "Statistics, please", "put the files in order", "anything else")
        return [members(await desk.run(text)) for text in texts]

    assert in_host(main) == ["poet", "analyst", "clerk", "clerk"]


def test_only_who_has_every_capability_that_is_asked_for_is_asked() -> None:
    async def main(host: Host) -> tuple[str, str]:
        await sayer(host, "one", capabilities=["python"])
        await sayer(host, "two", capabilities=["Python", "review"])
        desk = await team(host, "one", "two")
        found = members(await desk.run({"text": "look", "capabilities": ["python", "Review"]}))
        with pytest.raises(CompositionError, match="none of its 2 members can do cooking; add one") as refused:
            await desk.run({"text": "look", "capabilities": "cooking"})
        with pytest.raises(InvalidInputError, match="capabilities is no list"):
            await desk.run({"text": "look", "capabilities": 3})
        return found, str(refused.value)

    assert in_host(main)[0] == "two"


def test_in_turn_each_member_is_asked_as_often_as_any_other() -> None:
    async def main(host: Host) -> list[str]:
        for name in "abc":
            await sayer(host, name)
        desk = await team(host, *"abc", strategy="round_robin")
        return [members(await desk.run("go")) for _ in range(7)]

    assert in_host(main) == [*"abcabca"]


def test_what_chance_chose_is_chosen_again_with_the_seed_that_was_told() -> None:
    async def main(host: Host) -> tuple[list[str], list[str]]:
        for name in "abcd":
            await sayer(host, name)
        desk = await team(host, *"abcd", strategy="random")
        outputs = [await desk.run("go") for _ in range(12)]
        seed = outputs[0].metadata["seed"]
        again = await host.agents.create(
            name="again", kind="delegating", options={"agents": [*"abcd"], "strategy": "random", "seed": seed}
        )
        assert [output.metadata["draw"] for output in outputs] == list(range(12))
        return [members(output) for output in outputs], [members(await again.run("go")) for _ in range(12)]

    first, second = in_host(main)

    assert first == second
    assert len(set(first)) > 1


def test_the_least_busy_member_is_asked_and_of_those_the_quickest() -> None:
    async def main(host: Host) -> tuple[Counter[str], str]:
        for name in "abc":
            await sayer(host, name, sleeps=10)
        desk = await team(host, *"abc", strategy="load_balanced")
        outputs: list[AgentOutput] = []

        async def ask() -> None:
            outputs.append(await desk.run("go"))

        async with trio.open_nursery() as nursery:
            for _ in range(9):
                nursery.start_soon(ask)
                await trio.sleep(0.1)
        return Counter(map(members, outputs)), ""

    assert in_host(main, virtual=True)[0] == {"a": 3, "b": 3, "c": 3}


def test_a_member_that_fails_is_followed_by_the_next_and_told_of() -> None:
    async def main(host: Host) -> AgentOutput:
        await sayer(host, "broken", fails=1)
        await sayer(host, "sound")
        return await (await team(host, "broken", "sound")).run("go")

    output = in_host(main)

    assert output.text == "sound: go"
    assert output.metadata["failed"] == {"agent:broken": "broken: it broke"}
    assert output.usage == ModelUsage(1, 2)


def test_no_more_members_are_tried_than_may_be() -> None:
    async def main(host: Host) -> CompositionError:
        for name in "abc":
            await sayer(host, name, fails=1)
        with pytest.raises(
            CompositionError, match=r"agent desk: none of its members answered: agent:a: a: it broke"
        ) as e:
            await (await team(host, *"abc", max_tries=2)).run("go")
        return e.value

    error = in_host(main)

    assert [name for name, _ in Sayer.asked] == ["a", "b"]
    assert error.details == {"agent:a": "a: it broke", "agent:b": "b: it broke"}


def test_what_a_guard_denies_to_a_member_nobody_else_is_asked_instead() -> None:
    def deny(context: HookContext[Any]) -> Cancel | None:
        return Cancel("not this one")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "a"}))

    async def main(host: Host) -> None:
        for name in "ab":
            await sayer(host, name)
        await (await team(host, *"ab")).run("go")

    with pytest.raises(OperationCancelledError, match="not this one"):
        in_host(main, guard)
    assert Sayer.asked == []


def test_workflows_and_tools_are_members_too() -> None:
    async def look(parameters: dict[str, Any], context: Any) -> Any:
        return {"saw": parameters["input"]}

    async def main(host: Host) -> list[str]:
        await host.get(Workflows).create(
            {
                "name": "say",
                "stages": [{"name": "say", "function": lambda context: context.input, "input": "{{input.input}}!"}],
            }
        )
        desk = await team(host, {"agent": "tool:look", "when": ["look"]}, "workflow:say")
        return [(await desk.run(text)).text for text in ("look here", "hello")]

    assert in_host(main, make_tool("look", look)) == ['{"saw":"look here"}', "hello!"]


def test_a_member_that_is_not_there_or_is_named_twice_is_told_as_the_agent_is_made() -> None:
    async def main(host: Host) -> None:
        with pytest.raises(ComponentNotFoundError, match="agent desk: there is no agent 'nobody'; make it first"):
            await team(host, "nobody")
        await sayer(host, "a")
        with pytest.raises(InvalidInputError, match="agent:a is its member twice"):
            await team(host, "a", "agent:a")
        with pytest.raises(InvalidInputError, match=r"options\.agents"):
            await team(host)
        with pytest.raises(InvalidInputError, match=r"options\.strategy"):
            await team(host, "a", strategy="guess")

    in_host(main)


def test_it_remembers_what_was_asked_and_answered_and_streams_the_answer() -> None:
    async def main(host: Host) -> tuple[list[str], list[str]]:
        await sayer(host, "a")
        desk = await team(host, "a")
        async with desk.stream("go") as stream:
            texts = [chunk.text async for chunk in stream]
        return texts, [message.content for message in desk.conversation]

    assert in_host(main) == (["a: go"], ["go", "a: go"])


@given(
    fails=some.lists(some.booleans(), min_size=1, max_size=5),
    strategy=some.sampled_from(["first_match", "best_match", "round_robin", "random", "load_balanced"]),
    most=some.integers(1, 6),
    runs=some.integers(1, 4),
)
def test_whoever_is_chosen_each_is_asked_once_at_most_and_the_first_that_can_answers(
    fails: list[bool], strategy: str, most: int, runs: int
) -> None:
    async def main(host: Host) -> None:
        names = [f"m{number}" for number in range(len(fails))]
        for name, failing in zip(names, fails, strict=True):
            await sayer(host, name, fails=10**6 if failing else 0)
        desk = await team(host, *names, strategy=strategy, max_tries=most)
        for _ in range(runs):
            Sayer.asked.clear()
            try:
                answered: str | None = members(await desk.run("go"))
            except CompositionError:
                answered = None
            asked = [name for name, _ in Sayer.asked]
            assert len(asked) == len(set(asked)) <= min(most, len(names))
            assert all(fails[int(name[1:])] for name in asked[: -1 if answered else None])
            assert answered == (asked[-1] if answered else None)
            assert answered is not None or len(asked) == min(most, len(names))

    in_host(main)
