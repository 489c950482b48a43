"""What people get wrong in a workflow: each is told where it is made, by its name and with what to write."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from kernel import opened
from llmspell.cli.main import main
from llmspell_hookspecs import HookContext, Modified, Redirect
from llmspell_hookspecs.errors import InvalidInputError, LlmspellError, ScriptError, WorkflowError
from llmspell_hookspecs.workflows import Workflows
from llmspell_testing.isolation import isolate

CALC = {"tool": "calculator", "input": {"input": "1"}}
A = {"name": "a", **CALC}
LATER = {"name": "b", "tool": "calculator", "input": {"input": "{{step:a:output.result}}"}}


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ({"steps": [A]}, "there is no 'steps'; did you mean stages?"),
        ({"type": "parallel", "stages": [A]}, "there is no 'type'; did you mean pattern?"),
        ({"timeout": 5, "stages": [A]}, "there is no 'timeout'; did you mean timeout_s?"),
        ({"stage": [A]}, "there is no 'stage'; did you mean stages?"),
        ({"desription": "x", "stages": [A]}, "there is no 'desription'; did you mean description?"),
        ({"pattern": "parallel", "max_concurency": 2, "stages": [A]}, "did you mean max_concurrency?"),
        ({"pattern": "loop", "whle": "always", "stages": [A]}, "takes range, items, while, break_when"),
        (
            {"pattern": "parallel", "stages": [A, LATER]},
            "'a' runs beside it, in a branch of its own; write {{branch:a:a}}",
        ),
        ({"pattern": "parallel", "stages": [A, {**A, "name": "b", "needs": ["a"]}]}, "needs: 'a' runs beside it"),
        ({"stages": [{**A, "retry": {"attempts": 0}}]}, "stage a: retry.attempts is 0; give a number from 1"),
        ({"stages": [{**A, "retry": {"jitter": 2.0}}]}, "stage a: retry.jitter is 2.0; give a number from 0 to 1"),
        (
            {"pattern": "conditional", "branches": [{"name": "x", "condition": "step:z", "stages": [A]}]},
            "leave that out",
        ),
    ],
)
async def test_a_wrong_definition_is_told_with_what_to_write(definition: dict[str, Any], told: str) -> None:
    async with opened() as host:
        with pytest.raises(InvalidInputError) as caught:
            await host.get(Workflows).create({"name": "w", **definition})

    assert told in str(caught.value)
    assert "none" not in str(caught.value)


async def test_a_branch_of_one_stage_is_there_for_the_others_by_its_name_if_it_has_ended() -> None:
    other = {**LATER, "input": {"input": "{{branch:a:a:output.result|default:7}} + 1"}}
    async with opened() as host:
        made = await host.get(Workflows).create(
            {"name": "p", "pattern": "parallel", "max_concurrency": 1, "stages": [A, other]}
        )

        assert (await made.run()).output["b"]["result"] == 2


async def test_items_that_are_no_list_are_told_once_and_in_words() -> None:
    async with opened() as host:
        made = await host.get(Workflows).create({"name": "l", "pattern": "loop", "items": "{{input}}", "stages": [A]})
        with pytest.raises(WorkflowError) as caught:
            await made.run({"a": 1})

    assert str(caught.value) == "workflow l: items is a table; give a list"


async def test_a_workflow_that_calls_itself_is_told_to_look_there() -> None:
    async with opened() as host:
        made = await host.get(Workflows).create({"name": "me", "stages": [{"name": "a", "workflow": "me"}]})
        with pytest.raises(WorkflowError, match="look for what calls itself"):
            await made.run()


def plain(context: Any) -> int:
    return 1


async def waits(context: Any) -> int:
    return 1


async def test_an_error_that_leads_back_to_the_workflow_ends_soon() -> None:
    """The stage and the workflow both fail, so that each redirect could set off two more without end."""
    ran = 0

    def fail(context: Any) -> None:
        nonlocal ran
        ran += 1
        raise ValueError("it is broken")

    async with opened() as host:
        await host.get(Workflows).create({"name": "w", "stages": [{"name": "s", "function": fail}]})
        host.hooks.register("workflow_error", lambda context: Redirect("workflow:w"))
        await host.settings.change("limits.hops", 4)
        with pytest.raises(LlmspellError, match="redirected more than 4 times"):
            await host.call("workflow:w", {})

    assert ran == 2**5 - 1


@pytest.mark.parametrize(
    ("function", "lines"), [(plain, 1), (functools.partial(plain), 1), (waits, 0), (functools.partial(waits), 0)]
)
async def test_a_time_that_bounds_nothing_is_told_of(
    function: Any, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as host:
        stages = [{"name": "timed", "function": function, "timeout_s": 1}, {"name": "free", "function": plain}]
        await host.get(Workflows).create({"name": "w", "stages": stages})

    found = [line for line in caplog.messages if "timeout_s cannot cut off a sync function" in line]
    assert len(found) == lines
    assert all("stage timed" in line for line in found)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ('{name = "a", tool = "calculator", execute = function() end}', "it has tool and execute; give one of them"),
        ('{name = "a", tool = "calculator", agent = "x"}', "it has tool and agent; give one of them"),
        ("function() end", "step_1: a function is no step; give a table with name and execute"),
    ],
)
async def test_a_step_of_a_script_runs_one_thing(step: str, told: str) -> None:
    async with opened() as host:
        with pytest.raises(ScriptError) as caught:
            await host.run_source(f"return Workflow.sequential{{name = 'w', steps = {{{step}}}}}")

    assert told in str(caught.value)


async def test_a_type_that_changes_nothing_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    steps = "steps = {{name = 's', execute = function() return 1 end}}"
    async with opened() as host:
        for call in ("sequential{type = 'parallel', ", "create{type = 'parallel', ", "loop{type = 'loop', range = 1, "):
            with pytest.MonkeyPatch.context():
                await host.run_source(f"pcall(function() Workflow.{call} {steps}}} end)")

    found = [line for line in caplog.messages if "changes nothing" in line]
    assert len(found) == 1
    assert "type = 'parallel' changes nothing, it is sequential" in found[0]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            'on_error = "retry"\n[[stages]]\nname = "a"\ntool = "file_operations"',
            "stage a: it is tried 3 times in all if",
        ),
        ('[[stages]]\nname = "a"\ntool = "file_operations"\nretry = {attempts = 2}', "it is tried 2 times in all if"),
        ('[[stages]]\nname = "a"\ntool = "file_operations"\nretry = {attempts = 1}', ""),
        ('[[stages]]\nname = "a"\nworkflow = "w"', "stage a: the workflow calls itself"),
    ],
)
def test_validate_warns_of_what_will_run(
    lines: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (isolate(tmp_path, monkeypatch).project / "w.toml").write_text(f'name = "w"\n{lines}\n')

    with pytest.raises(SystemExit):
        main(("workflow", "validate", "w.toml"))
    out, err = capfd.readouterr()

    assert out == "w is in order: sequential, 1 stages\n"
    assert told in err if told else err == ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": "failed", "error": "judged bad"}, "branch b: judged bad"),
        ({"status": "nonsense"}, "its status is 'nonsense'; give one of completed, failed, cancelled"),
        ({"name": "nobody"}, "parallel_join names 'nobody' though there are a, b"),
        ({"name": "a"}, "parallel_join names 'a' twice"),
    ],
)
async def test_what_a_hook_makes_of_a_branch_counts_or_is_refused(changes: dict[str, Any], told: str) -> None:
    def judge(context: HookContext[Any]) -> Modified:
        first, second = context.subject.outcomes
        return context.modify(outcomes=(first, structs.replace(second, **changes)))

    async with opened() as host:
        made = await host.get(Workflows).create({"name": "p", "pattern": "parallel", "stages": [A, {**A, "name": "b"}]})
        host.hooks.register("parallel_join", judge)
        with pytest.raises(LlmspellError) as caught:
            await made.run()

    assert told in str(caught.value)
