"""The mesh: whom a message reaches, how far, how often and how long, and what becomes of those that go no further."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kernel import make_plugin
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import CompositionError
from team_members import Sayer, in_host, sayer


async def mesh(host: Host, members: dict[str, Any], **options: Any) -> Any:
    """Make a mesh of members: the topics of each, and to which it sends."""
    agents = []
    for name, (topics, sends, more) in members.items():
        await sayer(host, name, **more)
        agents.append({"agent": name, "topics": topics, "sends": sends})
    return await host.agents.create(name="mesh", kind="mesh", options={"agents": agents, **options})


def test_a_message_goes_by_its_topics_until_somebody_answers() -> None:
    async def main(host: Host) -> Any:
        made = await mesh(
            host,
            {
                "reader": ("ask", "facts.new", {}),
                "checker": ("facts.*", "checked", {}),
                "writer": ("checked", "", {}),
                "idle": ("other", "", {}),
            },
        )
        async with host.events.subscribe("mesh.mesh.**") as events:
            output = await made.run("tea")
            seen = []
            while (event := events.receive_nowait()) is not None:
                seen.append((event.type, event.data["text"], event.data["from"], event.data["hops"]))
        return output, seen

    output, seen = in_host(main)

    assert output.text == "writer: checker: reader: tea"
    assert dict(output.metadata["answers"]) == {"agent:writer": output.text}
    assert seen == [
        ("mesh.mesh.ask", "tea", "", 0),
        ("mesh.mesh.facts.new", "reader: tea", "agent:reader", 1),
        ("mesh.mesh.checked", "checker: reader: tea", "agent:checker", 2),
        ("mesh.mesh.checked.response", output.text, "agent:writer", 3),
    ]


@pytest.mark.parametrize(("answers", "text"), [("all", "a: go\nb: go"), ("first", "a: go")])
def test_several_may_answer(answers: str, text: str) -> None:
    async def main(host: Host) -> Any:
        return await (await mesh(host, {"a": ("ask", "", {}), "b": ("a*", "", {})}, answers=answers)).run("go")

    output = in_host(main)

    assert output.text == text
    assert output.usage.output_tokens == 4


def test_a_question_may_name_its_topic() -> None:
    async def main(host: Host) -> Any:
        made = await mesh(host, {"a": ("ask", "", {}), "b": ("night.**", "", {})})
        return await made.run({"text": "go", "topic": "night.shift"})

    assert in_host(main).text == "b: go"


def dead(members: dict[str, Any], *plugins: Any, virtual: bool = False, **options: Any) -> Any:
    """Return what the mesh answers or fails with, and the dead letters."""

    async def main(host: Host) -> Any:
        made = await mesh(host, members, **options)
        async with host.events.subscribe("mesh.mesh.dead_letter") as letters:
            try:
                found = await made.run("go")
            except CompositionError as error:
                found = error
            seen = []
            while (event := letters.receive_nowait()) is not None:
                seen.append((event.data["topic"], event.data["reason"]))
        return found, seen

    return in_host(main, *plugins, virtual=virtual)


def test_what_goes_in_circles_ends_after_so_many_members() -> None:
    error, letters = dead({"a": ("ask", "back", {}), "b": ("back", "ask", {})}, hops=5)

    assert isinstance(error, CompositionError)
    assert len(Sayer.asked) == 5
    assert letters == [("back", "it came 5 members far")]


def test_what_multiplies_ends_after_so_many_messages() -> None:
    error, letters = dead({name: ("ask", "ask", {}) for name in "abc"}, messages=20)

    assert isinstance(error, CompositionError)
    assert len(Sayer.asked) == 60
    assert {reason for _, reason in letters} == {"there were 20 messages"}


def test_nothing_is_delivered_after_its_time() -> None:
    members: dict[str, Any] = {
        "a": ("ask", "next", {"sleeps": 2}),
        "b": ("next", "", {"sleeps": 2}),
        "c": ("ask", "", {}),
    }

    output, letters = dead(members, ttl_s=3, virtual=True)

    assert output.text == "c: go"
    assert [topic for topic, _ in letters] == ["next"]
    assert "took longer than 1 s" in letters[0][1]


def test_a_message_for_nobody_and_a_member_that_fails_are_dead_letters() -> None:
    output, letters = dead(
        {"a": ("ask", "nowhere", {}), "b": ("ask", "", {"fails": 1}), "c": ("ask", "", {})},
    )

    assert output.text == "c: go"
    assert sorted(letters) == [
        ("ask", "agent:b failed: b: it broke"),
        ("nowhere", "nobody is subscribed to it"),
    ]
    assert sorted(output.metadata["dead_letters"]) == sorted(f"{topic}: {reason}" for topic, reason in letters)


def test_a_member_that_a_guard_denies_is_a_dead_letter_and_a_denied_message_ends_the_run() -> None:
    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("it is private")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "a"}))
    output, letters = dead({"a": ("ask", "", {}), "b": ("ask", "", {})}, guard)
    assert output.text == "b: go"
    assert "agent:a was denied: " in letters[0][1]

    mute = make_plugin("mute", ("before_event_emit", deny, {"kind": "guard", "match": "mesh.mesh.next"}))
    with pytest.raises(OperationCancelledError, match="it is private"):
        dead({"a": ("ask", "next", {}), "b": ("next", "", {})}, mute)
    assert [name for name, _ in Sayer.asked] == ["a"]


@pytest.mark.parametrize(
    "options", [{"agents": []}, {"agents": [{"agent": "a", "topics": []}]}, {"agents": [{"agent": "a", "topics": "{"}]}]
)
def test_what_cannot_be_is_told_as_it_is_made(options: dict[str, Any]) -> None:
    async def main(host: Host) -> None:
        await sayer(host, "a")
        with pytest.raises(InvalidInputError):
            await host.agents.create(name="mesh", kind="mesh", options=options)

    in_host(main)


TOPICS = some.sampled_from(["ask", "x", "y", "nowhere"])


@given(
    some.lists(some.tuples(TOPICS, TOPICS | some.just("")), min_size=1, max_size=5),
    some.integers(1, 6),
    some.integers(1, 30),
)
def test_whoever_sends_to_whom_it_ends_within_its_bounds(edges: list[tuple[str, str]], hops: int, most: int) -> None:
    members: dict[str, Any] = {f"m{number}": (topics, sends, {}) for number, (topics, sends) in enumerate(edges)}

    found, _ = dead(members, hops=hops, messages=most)

    assert len(Sayer.asked) <= most * len(edges)
    assert all(text.count(": ") <= hops for _, text in Sayer.asked)
    assert isinstance(found, CompositionError) or found.metadata["messages"] <= most
