"""Handing over: what the other agent is given and answers, what is denied, what fails, and every bound on it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some

from kernel import make_plugin, make_tool
from llmspell import Host
from llmspell_hookspecs import (
    AgentOutput,
    Cancel,
    HookContext,
    InvalidInputError,
    ModelRequest,
    ModelResponse,
    Modified,
)
from llmspell_hookspecs.agent import AgentChunk, Handoff
from llmspell_hookspecs.errors import ResourceLimitError
from llmspell_hookspecs.model import ModelUsage
from scripted_model import WAITS, ScriptedModel, asks, says
from team_members import Sayer, in_host, sayer


async def clerk(host: Host, *targets: str, name: str = "clerk", **fields: Any) -> Any:
    return await host.agents.create(name=name, model="scripted/play", handoffs=list(targets), **fields)


def told(model: ScriptedModel) -> list[str]:
    """Return what the model was told of its tools last."""
    return [message.content for message in model.requests[-1].messages if message.role == "tool"]


def test_the_other_agent_answers_in_its_place_and_all_is_counted_together() -> None:
    model = ScriptedModel(asks(("transfer_to_expert", {"reason": "it is about tax"})))

    async def main(host: Host) -> tuple[AgentOutput, Any]:
        await sayer(host, "expert")
        made = await clerk(host, "expert")
        output = await made.run("how much?")
        return output, [(each.role, each.content) for each in made.conversation]

    output, conversation = in_host(main, model)

    assert output.text == "expert: how much?"
    assert output.usage == ModelUsage(3, 1) + ModelUsage(1, 2)
    assert (output.steps, [record.text for record in output.tool_calls]) == (2, ["handed over to expert"])
    assert [*output.metadata["handoffs"]] == [
        {"from": "clerk", "to": "expert", "carry": "all", "reason": "it is about tax"}
    ]
    assert conversation == [
        ("user", "how much?"),
        ("assistant", ""),
        ("tool", "handed over to expert"),
        ("assistant", "expert: how much?"),
    ]
    assert [spec.name for spec in model.requests[0].tools] == ["transfer_to_expert"]


class Watched:
    """Keeps what agents are given."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []

    def see(self, context: HookContext[Any]) -> None:
        if context.component.name == "expert":
            self.inputs.append(context.subject)

    @property
    def plugin(self) -> Any:
        return make_plugin("watch", ("before_agent_execution", self.see, {"kind": "observe"}))


@pytest.mark.parametrize(
    ("fields", "asked", "text", "messages"),
    [
        ({"handoff_carry": "last"}, {}, "and now?", None),
        ({"handoff_carry": "last"}, {"question": "what then?"}, "what then?", None),
        ({}, {"summary": "It is about tea."}, "It is about tea.\n\nand now?", None),
        ({}, {}, "and now?", [("user", "tea?"), ("assistant", "[look: it is hot]"), ("assistant", "hot")]),
    ],
)
def test_what_the_other_agent_is_given(
    fields: dict[str, Any], asked: dict[str, Any], text: str, messages: list[tuple[str, str]] | None
) -> None:
    model = ScriptedModel(asks(("look", {})), says("hot"), asks(("transfer_to_expert", asked)))
    watched = Watched()

    async def look(parameters: dict[str, Any], context: Any) -> Any:
        return "it is hot"

    async def main(host: Host) -> None:
        await sayer(host, "expert")
        made = await clerk(host, "expert", tools=["look"], **fields)
        await made.run("tea?")
        await made.run("and now?")

    in_host(main, model, watched.plugin, make_tool("look", look))

    (given,) = watched.inputs
    assert given.text == text
    said = None if given.messages is None else [(each.role, each.content) for each in given.messages]
    assert said == messages


def test_a_hook_sends_it_to_another_agent_with_something_else() -> None:
    model = ScriptedModel(asks(("transfer_to_expert", {})))
    seen: list[Handoff] = []

    def elsewhere(context: HookContext[Handoff]) -> Modified:
        seen.append(context.subject)
        return context.modify(target="other", carry="last", text="as the hook says")

    hook = make_plugin("hook", ("agent_handoff", elsewhere, {"match": "clerk"}))

    async def main(host: Host) -> str:
        for name in ("expert", "other"):
            await sayer(host, name)
        return str((await (await clerk(host, "expert")).run("go")).text)

    assert in_host(main, model, hook) == "other: as the hook says"
    assert seen == [Handoff("clerk", "expert", "all", "go")]


def test_a_denied_hand_off_is_told_to_the_model_which_goes_on() -> None:
    model = ScriptedModel(asks(("transfer_to_expert", {})), says("I answer myself"))

    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("nobody else")

    async def main(host: Host) -> Any:
        await sayer(host, "expert")
        return await (await clerk(host, "expert")).run("go")

    for point, match in (("agent_handoff", "clerk"), ("before_agent_execution", "expert")):
        model.lines = [asks(("transfer_to_expert", {})), says("I answer myself")]
        guard = make_plugin("guard", (point, deny, {"kind": "guard", "match": match, "name": "deny"}))
        output = in_host(main, model, guard)

        assert output.text == "I answer myself"
        assert [(record.status, record.hook, record.point) for record in output.tool_calls] == [
            ("denied", "guard.deny", point)
        ]
        assert told(model) == ["denied: nobody else"]
        assert Sayer.asked == []


def test_an_agent_that_fails_or_is_not_there_is_told_to_the_model() -> None:
    model = ScriptedModel(
        asks(("transfer_to_broken", {})), asks(("transfer_to_nobody", {})), asks(("transfer_to_sound", {}))
    )

    async def main(host: Host) -> Any:
        await sayer(host, "broken", fails=1)
        await sayer(host, "sound")
        return await (await clerk(host, "broken", "nobody", "sound")).run("go")

    output = in_host(main, model)

    assert output.text == "sound: go"
    assert [record.text for record in output.tool_calls] == [
        "error: broken: it broke",
        "error: there is no agent 'nobody' to hand over to; answer yourself, or name another",
        "handed over to sound",
    ]


def test_other_tools_of_the_same_answer_run_and_only_one_hand_off_is_taken() -> None:
    model = ScriptedModel(asks(("look", {}), ("transfer_to_a", {}), ("transfer_to_b", {})))

    async def look(parameters: dict[str, Any], context: Any) -> Any:
        return "seen"

    async def main(host: Host) -> Any:
        for name in "ab":
            await sayer(host, name, sleeps=1)
        return await (await clerk(host, "a", "b", tools=["look"])).run("go")

    output = in_host(main, model, make_tool("look", look), virtual=True)

    assert output.text == "a: go"
    assert [record.text for record in output.tool_calls] == [
        "seen",
        "handed over to a",
        "error: you hand over to another agent already; hand over to one at once",
    ]


def test_what_the_other_agent_says_is_streamed_as_it_comes() -> None:
    lines = [asks(("transfer_to_expert", {})), says("one two three")]

    async def main(host: Host) -> list[AgentChunk]:
        await clerk(host, name="expert")
        chunks: list[AgentChunk] = []

        async def take(chunk: AgentChunk) -> None:
            chunks.append(chunk)

        await (await clerk(host, "expert")).run("go", sink=take)
        return chunks

    chunks = in_host(main, ScriptedModel(*lines))

    assert [(chunk.kind, chunk.text, chunk.step) for chunk in chunks if chunk.kind == "text"] == [
        ("text", "one", 2),
        ("text", " two", 2),
        ("text", " three", 2),
    ]


def test_of_many_agents_there_is_one_tool_that_takes_the_name() -> None:
    model = ScriptedModel(asks(("transfer_to", {"agent": "m3"})))

    async def main(host: Host) -> str:
        names = [f"m{number}" for number in range(9)]
        for name in names:
            await sayer(host, name)
        return str((await (await clerk(host, *names)).run("go")).text)

    assert in_host(main, model) == "m3: go"
    (spec,) = model.requests[0].tools
    assert spec.schema["properties"]["agent"]["enum"] == tuple(f"m{number}" for number in range(9))


def always(request: ModelRequest) -> ModelResponse:
    """Hand over whenever that is possible."""
    return asks((request.tools[0].name, {}))


def test_two_that_hand_over_to_each_other_for_ever_do_so_three_times_each() -> None:
    seen: Counter[tuple[str, str]] = Counter()

    def count(context: HookContext[Handoff]) -> None:
        seen[context.subject.source, context.subject.target] += 1

    def going_on(request: ModelRequest) -> ModelResponse:
        """Hand over until one refuses."""
        last = request.messages[-1]
        return says(last.content) if last.role == "tool" else asks((request.tools[0].name, {}))

    watch = make_plugin("watch", ("agent_handoff", count, {"kind": "observe"}))

    async def main(host: Host) -> str:
        await clerk(host, "b", name="a")
        await clerk(host, "a", name="b")
        return str((await host.agents.get("a").run("go")).text)  # type: ignore[union-attr]

    assert in_host(main, ScriptedModel(going_on), watch) == ("error: a has handed over to b 3 times; answer yourself")
    assert seen == {("a", "b"): 4, ("b", "a"): 3}


def test_whoever_tries_again_and_again_the_work_stays_bounded_and_the_next_run_counts_anew() -> None:
    model = ScriptedModel(always)

    async def main(host: Host) -> list[int]:
        await clerk(host, "b", name="a", max_steps=5)
        made = await clerk(host, "a", name="b", max_steps=5)
        counts = []
        for _ in range(2):
            before = len(model.requests)
            with pytest.raises(ResourceLimitError, match="still asks for tools"):
                await made.run("go")
            counts.append(len(model.requests) - before)
        return counts

    first, second = in_host(main, model)

    assert first == second <= 7 * 5


def test_settings_bound_all_hand_offs_of_a_run() -> None:
    model = ScriptedModel(asks(("transfer_to_b", {})), says("myself"))

    async def main(host: Host) -> Any:
        await sayer(host, "b")
        return await (await clerk(host, "b")).run("go")

    output = in_host(main, model, settings={"agents": {"handoffs": 0}})

    assert output.tool_calls[0].text == (
        "error: there were 0 hand-offs, which is the most (agents.handoffs); answer yourself"
    )


def test_a_cancelled_hand_off_leaves_no_conversation_and_nothing_running() -> None:
    model = ScriptedModel(asks(("transfer_to_b", {})), WAITS)

    async def main(host: Host) -> Any:
        other = await clerk(host, name="b")
        made = await clerk(host, "b", name="a")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.run, "go")
                await model.begun.wait()
                scope.cancel()
        return made.conversation, made.info.running, other.info.running

    assert in_host(main, model) == ((), 0, 0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"handoffs": ["clerk"]}, "it would hand over to itself"),
        ({"handoffs": ["a b", "a_b"]}, "two of its handoffs have one name for its model"),
        ({"handoffs": ["x"], "tools": ["transfer_to_x"]}, "two of its tools have one name for its model"),
        ({"handoff_carry": "none"}, "handoff_carry"),
    ],
)
def test_what_cannot_be_is_told_as_the_agent_is_made(fields: dict[str, Any], told: str) -> None:
    async def nothing(parameters: dict[str, Any], context: Any) -> Any:
        return None

    async def main(host: Host) -> None:
        with pytest.raises(InvalidInputError, match=told):
            await host.agents.create(name="clerk", model="scripted/play", **fields)

    in_host(main, ScriptedModel(says("")), make_tool("transfer_to_x", nothing))


@given(
    edges=some.lists(some.lists(some.integers(0, 3), max_size=3, unique=True), min_size=4, max_size=4),
    choices=some.lists(some.integers(0, 3), min_size=1, max_size=40),
    most=some.integers(0, 8),
)
def test_whatever_the_models_ask_for_hand_offs_stay_within_their_bounds_and_each_run_ends_once(
    edges: list[list[int]], choices: list[int], most: int
) -> None:
    pairs: Counter[tuple[str, str]] = Counter()
    ended: Counter[str] = Counter()
    begun: Counter[str] = Counter()
    place = 0

    def model(request: ModelRequest) -> ModelResponse:
        nonlocal place
        choice = choices[place % len(choices)]
        place += 1
        if place > 400 or choice >= len(request.tools):
            return says("done")
        return asks((request.tools[choice].name, {}))

    def began(context: HookContext[Any]) -> None:
        begun[context.component.name] += 1

    def end(context: HookContext[Any]) -> None:
        ended[context.component.name] += 1

    watch = make_plugin(
        "watch",
        ("before_agent_execution", began, {"kind": "observe"}),
        ("after_agent_execution", end, {"kind": "observe"}),
        ("agent_error", end, {"kind": "observe"}),
    )

    async def main(host: Host) -> None:
        for number, targets in enumerate(edges):
            names = [f"a{target}" for target in targets if target != number]
            await clerk(host, *names, name=f"a{number}", max_steps=4)
        try:
            output = await host.agents.get("a0").run("go")  # type: ignore[union-attr]
        except ResourceLimitError:
            return
        for taken in output.metadata.get("handoffs", ()):
            pairs[taken["from"], taken["to"]] += 1
        assert output.usage.output_tokens >= output.steps

    in_host(main, ScriptedModel(model), watch, settings={"agents": {"handoffs": most}})

    assert begun == ended
    assert begun.total() <= most + 1
    assert all(count <= 3 for count in pairs.values())
