"""The swarm: when its members agree, who has a vote, what the blackboard holds, and what the error tells."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kernel import make_plugin
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError
from llmspell_hookspecs.errors import CompositionError
from llmspell_plugins.agents.swarm import canonical, elected
from team_members import Sayer, in_host, sayer


async def swarm(host: Host, says: list[str | None], weights: list[float] | None = None, **options: Any) -> Any:
    """Make a swarm whose members say these; who says None fails."""
    agents = []
    for number, text in enumerate(says):
        name = f"m{number}"
        await sayer(host, name, says=text or "", fails=0 if text else 10**6)
        agents.append({"agent": name, "weight": weights[number] if weights else 1.0})
    return await host.agents.create(name="swarm", kind="swarm", options={"agents": agents, **options})


def asked(says: list[str | None], weights: list[float] | None = None, **options: Any) -> Any:
    async def main(host: Host) -> Any:
        try:
            return await (await swarm(host, says, weights, **options)).run("what is it?")
        except CompositionError as error:
            return error

    return in_host(main)


@pytest.mark.parametrize(
    ("says", "options", "text"),
    [
        (["Yes.", "no", "yes"], {}, "Yes."),
        (["4", "5", "4.0"], {}, "4"),
        (['{{"a": 1, "b": [2]}}', '{{"b":[2.0],"a":1}}', "x"], {}, '{"a": 1, "b": [2]}'),
        (["a", "b"], {}, None),
        (["a", "b", "c"], {}, None),
        (["a", "a", None], {}, "a"),
        (["a", None, None], {}, None),
        (["a", None, None], {"quorum": 0.3}, "a"),
        ([None, None], {}, None),
        (["a", "a", "b"], {"consensus": "unanimous"}, None),
        (["a", " A ", "a."], {"consensus": "unanimous"}, "a"),
    ],
)
def test_what_enough_of_them_say_is_the_answer(
    says: list[str | None], options: dict[str, Any], text: str | None
) -> None:
    found = asked(says, **options)

    if text is None:
        assert isinstance(found, CompositionError)
    else:
        assert found.text == text
        assert set(found.metadata["votes"]) == {f"agent:m{number}" for number, said in enumerate(says) if said}


def test_votes_may_weigh_more() -> None:
    assert asked(["a", "b", "b"], [5, 1, 1], consensus="weighted").text == "a"
    assert asked(["a", "b", "b"], [2, 1, 1], consensus="weighted").details["votes"]


def test_a_judge_is_given_the_question_and_all_answers() -> None:
    async def main(host: Host) -> Any:
        await sayer(host, "judge", says="the judge says a")
        return await (await swarm(host, ["a", "b", None], consensus="judge", judge="judge")).run("which?")

    output = in_host(main)

    assert output.text == "the judge says a"
    assert Sayer.asked[-1] == ("judge", "which?\n\nWhat was said so far:\nm0: a\nm1: b")


def test_without_agreement_they_are_asked_again_with_what_was_said() -> None:
    async def main(host: Host) -> Any:
        made = await swarm(host, ["{text}", "b", "c"], rounds=3)
        with pytest.raises(CompositionError, match="its members do not agree") as refused:
            await made.run("go")
        keys = await host.state.keys("agent:swarm", prefix="blackboard/")
        return refused.value, [*keys], await host.state.get("blackboard/round.1/m1", scope="agent:swarm")

    error, keys, first = in_host(main)

    assert [text for name, text in Sayer.asked if name == "m1"][1] == (
        "go\n\nWhat was said so far:\nm0: go\nm1: b\nm2: c"
    )
    assert len(Sayer.asked) == 9
    assert keys == [f"blackboard/round.{number}/m{member}" for number in (1, 2, 3) for member in (0, 1, 2)]
    assert first == "b"
    assert set(error.details["votes"]) == {"agent:m0", "agent:m1", "agent:m2"}


def test_who_takes_too_long_has_no_vote() -> None:
    async def main(host: Host) -> Any:
        await sayer(host, "slow", says="b", sleeps=100)
        for name in ("x", "y"):
            await sayer(host, name, says="a")
        made = await host.agents.create(
            name="swarm", kind="swarm", options={"agents": ["slow", "x", "y"], "timeout_s": 1}
        )
        return await made.run("go")

    output = in_host(main, virtual=True)

    assert output.text == "a"
    assert "took longer than 1 s" in output.metadata["failed"]["agent:slow"]


def test_whom_a_guard_denies_has_no_vote_and_the_error_tells_why() -> None:
    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("it is private")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "m[01]"}))

    async def main(host: Host) -> CompositionError:
        with pytest.raises(CompositionError) as refused:
            await (await swarm(host, ["a", "a", "a"])).run("go")
        return refused.value

    error = in_host(main, guard)

    assert [name for name, _ in Sayer.asked] == ["m2"]
    assert "agent:m0 failed: " in str(error)
    assert set(error.details["failed"]) == {"agent:m0", "agent:m1"}


@pytest.mark.parametrize("options", [{"consensus": "judge"}, {"judge": "m0"}, {"quorum": 0}, {"quorum": 1.1}])
def test_what_cannot_be_is_told_as_it_is_made(options: dict[str, Any]) -> None:
    async def main(host: Host) -> None:
        with pytest.raises(InvalidInputError):
            await swarm(host, ["a"], **options)

    in_host(main)


@given(some.lists(some.sampled_from("abc"), max_size=9), some.sampled_from(["majority", "unanimous"]))
def test_a_vote_wins_only_with_more_than_half_of_those_cast(votes: list[str], consensus: str) -> None:
    cast = {f"m{number}": vote for number, vote in enumerate(votes)}
    counts = Counter(votes)

    winner = elected(cast, consensus, {})

    needed = len(votes) if consensus == "unanimous" else len(votes) // 2 + 1
    expected = [vote for vote, count in counts.items() if count >= needed]
    assert ([] if winner is None else [cast[winner]]) == expected


JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**50), 2**50) | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, some.integers(0, 4))
def test_json_is_compared_by_its_values_however_it_is_written(value: Any, indent: int) -> None:
    if isinstance(value, str):
        value = [value]

    assert canonical(json.dumps(value, indent=indent)) == canonical(f"  {json.dumps(value, sort_keys=True)}\n")


@given(some.text(max_size=60))
def test_whatever_somebody_says_has_a_form(text: str) -> None:
    assert canonical(text) == canonical(f" {text} ")
