"""The global Workflow in a host: whose workflows a script sees, who judges them, and what is left at its end."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest
import trio

from kernel import opened
from llmspell import Host
from llmspell_hookspecs import Cancel, ModelResponse, OperationCancelledError
from llmspell_hookspecs.errors import ScriptError
from llmspell_hookspecs.model import ToolUse
from llmspell_hookspecs.workflows import Workflows
from llmspell_plugins.globals.workflows.words import PATTERN_WORDS
from scripted_model import ScriptedModel, says

MAKE = 'Workflow.sequential{name = "own", steps = {{name = "s", execute = function() return 1 end}}}'
BRANCHES = """
return Workflow.parallel{name = "p", branches = {
  {name = "a", steps = {{name = "s", tool = "calculator", input = {input = "1"}}}},
  {name = "b", steps = {{name = "s", execute = function() return 2 end}}},
}}:execute()
"""


async def test_workflows_of_a_script_go_with_it() -> None:
    async with opened() as host:
        await host.run_source(f"{MAKE}:execute()")

        assert host.get(Workflows).list() == []
        with pytest.raises(ScriptError, match="there is no workflow 'own'"):
            await host.run_source('return Workflow.execute("own")')


async def test_a_script_that_fails_or_is_cancelled_leaves_no_workflow() -> None:
    async with opened() as host:
        with pytest.raises(ScriptError):
            await host.run_source(f"{MAKE} error('over')")
        with trio.move_on_after(0.1):
            await host.run_source(f"{MAKE} while true do end")

        assert host.get(Workflows).list() == []


async def test_a_script_sees_the_workflows_of_its_embedder_and_removes_none_of_them() -> None:
    async with opened() as host:
        await host.get(Workflows).create({"name": "shared", "stages": [{"name": "s", "function": lambda context: 7}]})

        answer = await host.run_source(
            'return {Workflow.execute("shared").output, #Workflow.list(), pcall(Workflow.remove, "shared")}'
        )

        assert answer[:3] == [7, 1, False]
        assert "this script did not make it" in answer[3]
        assert host.get(Workflows).get("shared") is not None


async def test_no_script_sees_the_workflow_of_another() -> None:
    told: dict[str, Any] = {}

    async def first(host: Host) -> None:
        told["first"] = await host.run_source(f'{MAKE} os.execute("sleep 1") return #Workflow.list()')

    async with opened() as host, trio.open_nursery() as nursery:
        nursery.start_soon(first, host)
        while host.get(Workflows).get("own") is None:
            await trio.lowlevel.checkpoint()
        told["second"] = await host.run_source(
            f'local n = #Workflow.list() local w = {MAKE} return {{n, Workflow.get("own") == nil, w.id ~= "own"}}'
        )

    assert told == {"first": 1, "second": [0, True, True]}


@pytest.mark.parametrize("point", ["before_tool_execution", "before_workflow_stage", "before_workflow_start"])
async def test_a_guard_stops_what_a_scripts_workflow_runs(point: str) -> None:
    async with opened() as host:
        host.hooks.register(point, lambda context: Cancel("not today"), kind="guard")

        with pytest.raises((ScriptError, OperationCancelledError), match="not today"):
            await host.run_source(BRANCHES)


async def test_functions_run_within_the_limits_of_their_script() -> None:
    loop = 'Workflow.sequential{name = "own", steps = {{name = "s", execute = function() while true do end end}}}'

    async with opened(settings={"scripts": {"time_s": 0.3}}) as host:
        answer = await host.run_source(f"return {loop}:execute().error")

    assert "processor time" in answer


async def test_a_word_that_is_no_field_is_told_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    source = 'Workflow.sequential{name = "w", stepz = {}, steps = {{name = "s", tol = 1, execute = function() end}}}'

    async with opened() as host:
        await host.run_source(source)

    assert "a workflow has no 'stepz'; did you mean 'steps'?" in caplog.text
    assert "a step has no 'tol'; did you mean 'tool'?" in caplog.text


STEPS = 'steps = {{name = "s", execute = function() end}}'
UNKNOWN = {
    f'parallel{{branches = {{{{name = "b", optional = true, {STEPS}}}}}}}': (
        "branch b: a branch has no 'optional'; did you mean 'required = false'?"
    ),
    f'parallel{{branches = {{{{name = "b", requird = false, {STEPS}}}}}}}': "a branch has no 'requird'; did you mean",
    f'parallel{{branches = {{{{name = "b", stepz = {{}}, {STEPS}}}}}}}': "no 'stepz'; did you mean 'steps'?",
    f'conditional{{default_branch = {{nam = "d", {STEPS}}}}}': "the default branch has no 'nam'; did you mean 'name'?",
    f"loop{{iterator = {{items = {{1}}, max_iteration = 1}}, {STEPS}}}": "an iterator has no 'max_iteration'",
    f"loop{{items = {{1}}, whille = 1, {STEPS}}}": "a workflow has no 'whille'; did you mean 'while_condition'?",
    f'loop{{items = {{1}}, aggregation = {{type = "last_n", m = 2}}, {STEPS}}}': "an aggregation has no 'm'",
    f'loop{{while_condition = {{condition = "never", maximum = 2}}, {STEPS}}}': "while_condition has no 'maximum'",
    f"sequential{{then_steps = {{}}, {STEPS}}}": "a sequential workflow has no 'then_steps'",
    'sequential{steps = {{name = "s", func = 1, tool = "calculator"}}}': "no 'func'; did you mean 'execute'?",
    'sequential{steps = {{name = "s", action = 1, tool = "calculator"}}}': "no 'action'; did you mean 'execute'?",
    'sequential{steps = {{name = "s", functio = 1, tool = "calculator"}}}': "no 'functio'; did you mean 'execute'?",
}


@pytest.mark.parametrize("made", UNKNOWN)
async def test_a_word_that_is_none_is_told_wherever_it_stands(made: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as host:
        await host.run_source(f"Workflow.{made}")

    assert UNKNOWN[made] in caplog.text


@pytest.mark.parametrize(
    "made",
    [
        f'loop{{while_condition = "never", {STEPS}}}',
        f'loop{{iterator = {{while_condition = {{condition = "never", max_iterations = 2}}}}, {STEPS}}}',
        f'loop{{["while"] = {{evaluate = function() end, message = "m"}}, {STEPS}}}',
        f'sequential{{id = "i", {STEPS}}}',
        "conditional{default_branch = {execute = function() end}}",
        f'conditional{{condition = "always", then_{STEPS}, default_branch = {{steps = {{}}}}}}',
        f'parallel{{branches = {{{{name = "b", required = false, timeout_ms = 10, description = "d", {STEPS}}}}}}}',
    ],
)
async def test_no_word_that_has_an_effect_is_told(made: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as host:
        await host.run_source(f"Workflow.{made}")

    assert " has no " not in caplog.text


async def test_a_thousand_workflows_of_a_script_are_refused_in_words() -> None:
    async with opened() as host:
        with pytest.raises(ScriptError, match="its script has 100; remove some"):
            await host.run_source(f"for i = 1, 1000 do {MAKE} end")


@pytest.mark.parametrize("step", ['workflow = "own"', 'agent = "mine", input = "hi"', 'address = "workflow:own"'])
async def test_no_step_runs_what_is_another_scripts(step: str) -> None:
    told: list[Any] = []

    async def first(host: Host) -> None:
        await host.run_source(f'Agent.create{{name = "mine", type = "basic"}} {MAKE} os.execute("sleep 5")')

    async with opened() as host, trio.open_nursery() as nursery:
        nursery.start_soon(first, host)
        while host.get(Workflows).get("own") is None:
            await trio.lowlevel.checkpoint()
        answer = await host.run_source(f'return Workflow.sequential{{steps = {{{{name = "s", {step}}}}}}}:execute()')
        told.append((answer["success"], answer["error"]))
        nursery.cancel_scope.cancel()

    assert not told[0][0]
    assert "there is none; there are " in told[0][1]
    assert told[0][1].count("own") + told[0][1].count("mine") == 1  # what the script itself said


async def test_an_agent_uses_workflows_and_agents_of_its_script_as_tools() -> None:
    source = """
    Workflow.sequential{name = "double", description = "Double it.", steps = {
      {name = "s", execute = function(c) return c.input.input .. c.input.input end, input = "{{input}}"}}}
    Agent.create{name = "inner", type = "basic", description = "Answers."}
    local agent = Agent.create{name = "outer", model = "scripted/m", tools = {"workflow:double", "agent:inner"}}
    return agent:execute("go").tool_calls
    """
    uses = (ToolUse("1", "workflow_double", {"input": "ab"}), ToolUse("2", "agent_inner", {"input": "hello"}))
    model = ScriptedModel(ModelResponse("", uses), says("done"))

    async with opened(model) as host:
        calls = await host.run_source(source)

    assert [call["status"] for call in calls] == ["completed", "completed"]
    assert calls[0]["result"] == "abab"
    assert "hello" in calls[1]["result"]
    assert {spec.name: spec.description for spec in model.requests[0].tools} == {
        "workflow_double": "Double it.",
        "agent_inner": "Answers.",
    }


@pytest.mark.parametrize("name", ["workflow:none", "agent:none", "model:m"])
async def test_an_agent_of_what_there_is_not_is_refused_when_it_is_made(name: str) -> None:
    async with opened() as host:
        with pytest.raises(ScriptError, match="agent a: "):
            await host.run_source(f'Agent.create{{name = "a", model = "offline/rules", tools = {{"{name}"}}}}')


def test_the_words_of_each_pattern_are_options_that_it_takes() -> None:
    for pattern in entry_points(group="llmspell.workflows"):
        options = pattern.load().Options
        known = set() if options is None else {field.alias or name for name, field in options.model_fields.items()}

        assert set(PATTERN_WORDS.get(pattern.name, ())) <= known, pattern.name


async def test_what_steps_yielded_is_in_the_state_until_the_next_run_and_no_longer_than_the_script() -> None:
    source = f"""
    local w, ids = {MAKE}, {{}}
    for i = 1, 3 do w:execute(); ids[i] = w:get_execution_id() end
    return {{ids, #State.workflow_list(ids[1]), State.workflow_get(ids[3], "s").output}}
    """
    async with opened() as host:
        ids, earlier, last = await host.run_source(source)
        left = [await host.state.keys(f"workflow:{run_id}") for run_id in ids]

    assert (earlier, last) == (0, 1)
    assert [[*keys] for keys in left] == [[], [], []]


@pytest.mark.parametrize(
    ("condition", "holds", "unknown"),
    [
        ("count < 3", True, ""),
        ("input.count < 3", True, ""),
        ("{{count}} == 1", True, ""),
        ("deep.x.y == 'z'", True, ""),
        ("shared.kept >= 2", True, ""),
        ("kept ~= nil", True, ""),
        ("cuont < 3", False, "cuont"),
        ("input.x > 3", False, "input.x"),
        ("deep.y == 1", False, "deep.y"),
        ("missing == nil", True, "missing"),
        ("count < 'a'", False, ""),
    ],
)
async def test_a_comparison_finds_what_is_shared_and_given_and_tells_what_is_not_there(
    condition: str, holds: bool, unknown: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = f"""
    local w = Workflow.conditional{{name = "c", shared = {{kept = 2}}, branches = {{
      {{name = "b", condition = "{condition}", steps = {{{{name = "f", execute = function() return 1 end}}}}}},
    }}}}
    return w:execute({{count = 1, deep = {{x = {{y = "z"}}}}}}).output == 1
    """
    async with opened() as host:
        assert await host.run_source(source) is holds

    told = [message for message in caplog.messages if "there is no" in message]
    assert len(told) == bool(unknown)
    assert not unknown or f"there is no '{unknown}', shared or in the input" in told[0]
