"""What a run is asked for with: what does not fit is told as what was given, before anything begins."""

from __future__ import annotations

from typing import Any

import pytest

from kernel import opened
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, ResourceLimitError, WorkflowError
from llmspell_hookspecs.workflows import Workflows

MEMORY = {"storage": {"backend": "memory"}}
CALLED: dict[str, Any] = {"function": lambda context: 1}
S = {"name": "s", **CALLED}
W = {"name": "w", "stages": [S]}


def circle() -> list[Any]:
    """Return a list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"run_id": "a b"}, "workflow run 'a b': it is no id; write up to 64 letters, digits, - and _"),
        ({"run_id": 5}, "workflow run 5: it is no id"),
        ({"run_id": 5, "durable": True}, "workflow run 5: it is no id"),
        ({"run_id": "x" * 65}, "it is no id"),
        ({"run_id": "--"}, "it is no id"),
        ({"run_id": "a/b", "durable": True}, "it is no id"),
        ({"durable": "yes"}, "workflow w: durable is 'yes'; give True or False"),
        ({"durable": 1}, "workflow w: durable is 1; give True or False"),
    ],
)
async def test_a_run_is_asked_for_in_words_that_fit(asked: dict[str, Any], told: str) -> None:
    async with opened(settings=MEMORY) as host:
        made = await host.get(Workflows).create(W)
        with pytest.raises(InvalidInputError) as caught:
            await made.run(None, **asked)

        assert told in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert made.info.runs == 0
        assert await host.get(Workflows).runs() == []


@pytest.mark.parametrize("by_workflow", [True, False])
@pytest.mark.parametrize(
    ("run_id", "said", "told"),
    [
        (5, {}, "workflow run 5: it is no id"),
        ("r", {"take_over": "yes"}, "workflow run r: take_over is 'yes'; give True or False"),
        ("r", {"accept_changed": None}, "workflow run r: accept_changed is None; give True or False"),
        ("r", {"verdicts": ["s"]}, "workflow run r: verdicts are ['s']; give a mapping of paths to Verdict"),
        ("r", {"verdicts": {"s": "again"}}, "the verdict of 's' is 'again'; give Verdict('again'), skip or done"),
    ],
)
async def test_a_run_is_resumed_in_words_that_fit(
    by_workflow: bool, run_id: Any, said: dict[str, Any], told: str
) -> None:
    async with opened(settings=MEMORY) as host:
        made = await host.get(Workflows).create(W)
        await made.run(run_id="r", durable=True)
        with pytest.raises(InvalidInputError) as caught:
            await (made if by_workflow else host.get(Workflows)).resume(run_id, **said)

        assert told in str(caught.value)
        assert (await made.resume("r", verdicts={}, take_over=True)).status == "completed"


@pytest.mark.parametrize("asks", ["run_details", "cancel_run", "delete_run"])
async def test_what_is_no_id_is_refused_wherever_a_run_is_looked_for(asks: str) -> None:
    async with opened(settings=MEMORY) as host:
        with pytest.raises(InvalidInputError, match="workflow run 5: it is no id"):
            await getattr(host.get(Workflows), asks)(5)


@pytest.mark.parametrize("durable", [True, False])
async def test_an_input_that_holds_itself_is_told_as_that(durable: bool) -> None:
    async with opened(settings=MEMORY) as host:
        made = await host.get(Workflows).create(W)
        called = host.call("workflow:w", {"in": circle()})
        for run in (made.run(circle(), durable=durable), called):
            with pytest.raises(InvalidInputError) as caught:
                await run

            assert str(caught.value) == (
                "workflow w: its input: it is nested more than 200 levels deep, or holds itself; flatten it"
            )


async def test_what_a_stage_is_given_that_holds_itself_is_told_as_that() -> None:
    stages = [{"name": "a", "function": lambda context: circle()}, {"name": "b", "input": "{{step:a}}", **CALLED}]
    async with opened(settings=MEMORY) as host:
        made = await host.get(Workflows).create({"name": "w", "stages": stages})
        with pytest.raises(WorkflowError, match=r"stage b: .*it is nested more than 200 levels deep, or holds itself"):
            await made.run()


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        ({"x": {1, 2}}, InvalidInputError, "workflow w: input: its value cannot be kept: it has a set; give texts"),
        (2**80, InvalidInputError, "it has a whole number of more than 64 bits; write that as a text"),
        ("\ud800", InvalidInputError, "it has a text with a lone surrogate; take it out"),
        ("x" * 20_000_000, ResourceLimitError, "workflow w: input: its value has 20000005 bytes; keep at most"),
    ],
)
async def test_an_input_that_cannot_be_kept_is_told_as_the_input_and_leaves_no_run(
    given: Any, kind: type[LlmspellError], told: str
) -> None:
    async with opened(settings=MEMORY) as host:
        made = await host.get(Workflows).create(W)
        with pytest.raises(kind) as caught:
            await made.run(given, durable=True)

        assert told in str(caught.value)
        assert "definition" not in str(caught.value)
        assert await host.get(Workflows).runs() == []


@pytest.mark.parametrize("given", ["{{input.x", "so {{input.x", "{{step:s}} {{input.x"])
async def test_a_reference_that_does_not_end_is_shown_as_it_is_written(given: str) -> None:
    stages = [S, {"name": "t", "input": given, **CALLED}]
    async with opened(settings=MEMORY) as host:
        with pytest.raises(InvalidInputError) as caught:
            await host.get(Workflows).create({"name": "w", "stages": stages})

    assert "stage t: input: reference {{input.x: it does not end; close it with }}, or write \\{{" in str(caught.value)


async def test_runs_are_listed_newest_first_and_the_oldest_are_left_out() -> None:
    async with opened(settings=MEMORY) as host:
        workflows = host.get(Workflows)
        made = await workflows.create(W)
        for run_id in ("a", "d", "c", "b"):
            await made.run(run_id=run_id, durable=True)

        assert [info.run_id for info in await workflows.runs()] == ["b", "c", "d", "a"]
        assert [info.run_id for info in await workflows.runs(limit=2)] == ["b", "c"]
