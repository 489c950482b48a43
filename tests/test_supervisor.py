"""The supervisor: its agents as tools, what it is told of one that fails or is denied, its depth and its rounds."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import make_plugin
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, ModelRequest, ModelResponse
from llmspell_hookspecs.errors import ComponentNotFoundError, ResourceLimitError
from scripted_model import ScriptedModel, asks, says
from team_members import Sayer, in_host, sayer


async def lead(host: Host, name: str = "lead", *, agents: Any = ("critic",), tools: Any = (), **options: Any) -> Any:
    given = {"agents": list(agents), **options}
    return await host.agents.create(
        name=name, kind="supervisor", model="scripted/play", tools=tools, options=given, system_prompt="Be fair."
    )


def last_tool(model: ScriptedModel) -> str:
    return [message.content for message in model.requests[-1].messages if message.role == "tool"][-1]


def test_it_asks_its_agents_as_tools_and_is_told_who_they_are() -> None:
    model = ScriptedModel(asks(("agent_critic", {"input": "is it good?"})), says("it is good"))

    async def main(host: Host) -> Any:
        await sayer(host, "critic", description="Finds faults.", capabilities=["review"])
        return await (await lead(host, report="one line")).run("judge it")

    output = in_host(main, model)

    assert (output.text, last_tool(model)) == ("it is good", "critic: is it good?")
    assert Sayer.asked == [("critic", "is it good?")]
    told = model.requests[0].messages[0].content
    assert told.splitlines() == [
        "Be fair.",
        "You lead a team. Ask its members by their tools, each with all that it needs to know:",
        "- critic: Finds faults. (review)",
        "When you have what you need, report: one line",
    ]
    assert [spec.name for spec in model.requests[0].tools] == ["agent_critic"]


def test_what_becomes_of_an_agent_is_told_to_its_model_and_the_run_goes_on() -> None:
    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("nobody asks it")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "secret"}))
    model = ScriptedModel(
        asks(("agent_broken", {"input": "a"}), ("agent_secret", {"input": "b"}), ("agent_sound", {"input": "c"})),
        says("one of three"),
    )

    async def main(host: Host) -> Any:
        await sayer(host, "broken", fails=1)
        for name in ("secret", "sound"):
            await sayer(host, name)
        return await (await lead(host, agents=["broken", "secret", "sound"])).run("go")

    output = in_host(main, model, guard)

    assert output.text == "one of three"
    assert [(record.status, record.text) for record in output.tool_calls] == [
        ("failed", "error: broken: it broke"),
        ("denied", "denied: nobody asks it"),
        ("completed", "sound: c"),
    ]
    assert sorted(Sayer.asked) == [("broken", "a"), ("sound", "c")]


def asking(request: ModelRequest) -> ModelResponse:
    """Ask the first tool once, then say what it said."""
    if request.messages[-1].role == "tool":
        return says(request.messages[-1].content)
    return asks((request.tools[0].name, {"input": "deeper"}))


@pytest.mark.parametrize(("levels", "held"), [(3, False), (4, True)])
def test_no_more_supervisors_are_within_each_other_than_the_innermost_allows(levels: int, held: bool) -> None:
    async def main(host: Host) -> str:
        await sayer(host, "worker")
        under = "worker"
        for level in range(levels):
            top = await lead(host, f"lead{level}", agents=[under])
            under = f"lead{level}"
        return str((await top.run("go")).text)

    text = in_host(main, ScriptedModel(asking))

    assert text == (
        "error: agent lead0: it would be supervisor 4 within others; ask a member that is none, or raise max_depth"
        if held
        else "worker: deeper"
    )


def test_it_asks_in_so_many_rounds_and_no_more() -> None:
    model = ScriptedModel(asks(("agent_critic", {"input": "again"})))

    async def main(host: Host) -> None:
        await sayer(host, "critic")
        with pytest.raises(ResourceLimitError, match="in answer 2, the last it may give"):
            await (await lead(host, rounds=2)).run("go")

    in_host(main, model)

    assert len(Sayer.asked) == 2


def test_an_agent_that_is_not_there_is_told_as_it_is_made() -> None:
    async def main(host: Host) -> None:
        with pytest.raises(ComponentNotFoundError, match="there is no agent 'critic'"):
            await lead(host)

    in_host(main, ScriptedModel(says("")))
