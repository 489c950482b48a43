"""Pipelines and sagas: what each stage is given, what becomes of one that fails, and what is undone."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import make_plugin, make_tool
from llmspell import Host
from llmspell_hookspecs import Cancel, HookContext, InvalidInputError, OperationCancelledError
from llmspell_hookspecs.errors import ComponentNotFoundError, WorkflowError
from llmspell_hookspecs.workflows import Workflows
from team_members import Sayer, in_host, sayer


async def line(host: Host, *stages: Any, kind: str = "pipeline", **options: Any) -> Any:
    return await host.agents.create(name="line", kind=kind, options={"stages": list(stages), **options})


class Bookings:
    """Tools that book and cancel."""

    def __init__(self) -> None:
        self.done: list[str] = []

    async def book(self, parameters: dict[str, Any], context: Any) -> Any:
        if parameters.get("what") == "nothing":
            raise KeyError("what")
        self.done.append(f"book {parameters['what']}")
        return {"id": f"{parameters['what']}-7"}

    async def cancel(self, parameters: dict[str, Any], context: Any) -> Any:
        self.done.append(f"cancel {parameters['id']}")
        return {}

    @property
    def plugins(self) -> list[Any]:
        return [make_tool("book", self.book), make_tool("cancel", self.cancel)]


@pytest.mark.parametrize(
    ("carry", "asked"),
    [
        ("text", ["tea", "a: tea", "b: a: tea"]),
        ("value", ["tea", "a: tea", "b: a: tea"]),
        ("all", ["tea", "tea\n\na:\na: tea", "tea\n\na:\na: tea\n\nb:\nb: tea\n\na:\na: tea"]),
    ],
)
def test_each_stage_is_given_what_those_before_it_made(carry: str, asked: list[str]) -> None:
    async def main(host: Host) -> Any:
        for name in "abc":
            await sayer(host, name)
        return await (await line(host, *"abc", carry=carry)).run("tea")

    output = in_host(main)

    assert [text for _, text in Sayer.asked] == asked
    assert output.text == f"c: {asked[-1]}"
    assert (output.metadata["status"], output.metadata["stages"]) == ("completed", 3)
    assert set(output.metadata["outputs"]) == {"a", "b", "c"}


def test_tools_and_workflows_are_stages_with_inputs_of_their_own() -> None:
    bookings = Bookings()

    async def main(host: Host) -> Any:
        await sayer(host, "clerk")
        await host.get(Workflows).create(
            {
                "name": "shout",
                "stages": [{"name": "s", "function": lambda c: f"{c.input['id']}!", "input": "{{input}}"}],
            }
        )
        stages = [
            {"name": "order", "tool": "book", "input": {"what": "{{input.text}}"}},
            {"workflow": "shout"},
            "clerk",
        ]
        return await (await line(host, *stages, carry="value")).run("flight")

    assert in_host(main, *bookings.plugins).text == "clerk: flight-7!"
    assert bookings.done == ["book flight"]


def test_a_stage_that_fails_ends_the_line_unless_it_goes_on_or_tries_again() -> None:
    async def main(host: Host, **options: Any) -> Any:
        await sayer(host, "a")
        await sayer(host, "b", fails=1)
        return await (await line(host, *"ab", **options)).run("tea")

    with pytest.raises(WorkflowError, match="b: it broke"):
        in_host(main)
    going_on = in_host(lambda host: main(host, on_error="continue"))
    retried = in_host(lambda host: main(host, on_error="retry"), virtual=True)

    assert (going_on.metadata["status"], going_on.metadata["failed"]) == ("partial", ("b",))
    assert retried.text == "b: a: tea"


def test_a_guard_denies_a_stage_and_nothing_after_it_runs() -> None:
    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("not b")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "b"}))

    async def main(host: Host) -> None:
        for name in "abc":
            await sayer(host, name)
        await (await line(host, *"abc")).run("tea")

    with pytest.raises(OperationCancelledError, match="not b"):
        in_host(main, guard)
    assert [name for name, _ in Sayer.asked] == ["a"]


TRIP = (
    {"name": "flight", "tool": "book", "input": {"what": "flight"}, "compensate": {"tool": "cancel"}},
    {"name": "hotel", "tool": "book", "input": {"what": "hotel"}, "compensate": {"tool": "cancel"}},
    {"name": "pay", "agent": "bank"},
)


@pytest.mark.parametrize("fails", [0, 1])
def test_a_saga_undoes_what_completed_the_last_first_if_a_later_stage_fails(fails: int) -> None:
    bookings = Bookings()

    async def main(host: Host) -> str:
        await sayer(host, "bank", fails=fails)
        trip = await line(host, *TRIP, kind="saga")
        try:
            return str((await trip.run("a trip")).text)
        except WorkflowError as error:
            return str(error)

    text = in_host(main, *bookings.plugins)

    undone = ["cancel hotel-7", "cancel flight-7"] if fails else []
    assert bookings.done == ["book flight", "book hotel", *undone]
    assert ("bank: it broke" in text) == bool(fails)


def test_a_denied_stage_of_a_saga_undoes_what_completed_too() -> None:
    bookings = Bookings()

    def deny(context: HookContext[Any]) -> Cancel:
        return Cancel("no money is spent")

    guard = make_plugin("guard", ("before_agent_execution", deny, {"kind": "guard", "match": "bank"}))

    async def main(host: Host) -> None:
        await sayer(host, "bank")
        await (await line(host, *TRIP, kind="saga")).run("a trip")

    with pytest.raises((WorkflowError, OperationCancelledError), match="no money is spent"):
        in_host(main, guard, *bookings.plugins)
    assert bookings.done == ["book flight", "book hotel", "cancel hotel-7", "cancel flight-7"]


def test_a_durable_line_is_kept_as_a_run_of_its_workflow() -> None:
    async def main(host: Host) -> tuple[Any, Any]:
        await sayer(host, "a")
        output = await (await line(host, "a", durable=True)).run("tea")
        return output, await host.get(Workflows).run_details(output.metadata["run_id"])

    output, details = in_host(main)

    assert output.text == "a: tea"
    assert details is not None
    assert details.info.status == "completed"


def test_its_workflow_goes_with_it() -> None:
    async def main(host: Host) -> list[list[str]]:
        await sayer(host, "a")
        made = await line(host, "a")
        seen = []
        await made.run("tea")
        seen.append([info.name for info in host.get(Workflows).list()])
        await made.close()
        seen.append([info.name for info in host.get(Workflows).list()])
        return seen

    assert in_host(main) == [["line.stages"], []]


@pytest.mark.parametrize(
    ("stages", "error", "told"),
    [
        ([], InvalidInputError, "options.stages"),
        (["nobody"], ComponentNotFoundError, "there is no agent 'nobody'"),
        ([{"name": "a"}], InvalidInputError, "stage 'a' does not say what runs"),
        ([{"agent": "a", "tool": "book"}], InvalidInputError, "names 2 things that run"),
        ([{"agent": "a", "input": "{{step:b:output}}"}], InvalidInputError, "b"),
        ([{"agent": "a", "color": "red"}], InvalidInputError, "color"),
        ("a", InvalidInputError, "options.stages"),
    ],
)
def test_what_is_wrong_with_the_stages_is_told_as_it_is_made(stages: Any, error: type[Exception], told: str) -> None:
    async def main(host: Host) -> None:
        await sayer(host, "a")
        with pytest.raises(error, match=told):
            await host.agents.create(name="line", kind="pipeline", options={"stages": stages})

    in_host(main, *Bookings().plugins)
